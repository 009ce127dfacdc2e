"""What X-Filter may name, and how a comparison with it becomes a condition on rows.

The lists are the columns "filterable" of API.md's tables, and `id` everywhere.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.db.models import Case, CharField, F, Func, OuterRef, Q, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast
from django.db.models.lookups import IContains

from instances.api import wire
from inventory.models import AddressClaim

_BIGINT = 2**63
_LOOKUPS = {"+gt": "gt", "+gte": "gte", "+lt": "lt", "+lte": "lte"}
_SECOND = timedelta(seconds=1)
# ASCII's unit separator: a substring that spans two list members is none.
_SEPARATOR = "\x1f"


class Kind(Enum):
    TEXT = "a string"
    INTEGER = "a whole number"
    AMOUNT = "a number"
    BOOLEAN = "true or false"
    MOMENT = "a date like 2026-01-31T12:00:00"
    TEXTS = "a string (one of the list)"


class Unfit(Exception):
    """The operator or the value does not fit the field; str() says how."""


@dataclass(frozen=True, slots=True)
class Field:
    """path: the ORM's; expression: what `path` is an alias for, if it is no column."""

    path: str
    kind: Kind = Kind.TEXT
    expression: Combinable | None = None

    def condition(self, operator: str, operand: Any) -> Q:
        """Return the rows where this compares so; "" is equality. Raises Unfit."""
        if operator == "+contains":
            return self._contains(operand)
        if operator not in ("", "+neq", *_LOOKUPS):
            raise Unfit(f"no operator {operator[:20]}")
        if operator in _LOOKUPS:
            if operand is None or self.kind in (Kind.BOOLEAN, Kind.TEXTS):
                raise Unfit(f"{operator} cannot compare here")
            return self._compares(operator, self._checked(operand))
        equal = self._equals(operand)
        return ~equal if operator == "+neq" else equal

    def _equals(self, operand: Any) -> Q:
        if operand is None:
            return Q(**{f"{self.path}__isnull": True})
        value = self._checked(operand)
        if self.kind is Kind.TEXTS:
            return Q(**{f"{self.path}__contains": [value]})
        if self.kind is Kind.MOMENT:
            # The wire shows whole seconds; the row keeps the fraction.
            return Q(
                **{f"{self.path}__gte": value, f"{self.path}__lt": value + _SECOND}
            )
        return Q(**{self.path: value})

    def _compares(self, operator: str, value: Any) -> Q:
        if self.kind is Kind.MOMENT and operator == "+gt":
            operator, value = "+gte", value + _SECOND
        elif self.kind is Kind.MOMENT and operator == "+lte":
            operator, value = "+lt", value + _SECOND
        return Q(**{f"{self.path}__{_LOOKUPS[operator]}": value})

    def _contains(self, operand: Any) -> Q:
        if self.kind not in (Kind.TEXT, Kind.TEXTS) or not isinstance(operand, str):
            raise Unfit("+contains is for strings")
        if self.kind is Kind.TEXT:
            return Q(**{f"{self.path}__icontains": operand})
        joined = Func(
            F(self.path),
            Value(_SEPARATOR),
            function="array_to_string",
            output_field=CharField(),
        )
        return Q(IContains(joined, operand))

    def _checked(self, operand: Any) -> Any:
        if self.kind is Kind.MOMENT and isinstance(operand, str):
            try:
                moment = wire.time_from(operand)
                _ = moment + _SECOND  # The last second there is has no end.
            except (ValueError, OverflowError) as error:
                raise Unfit(f"the value must be {self.kind.value}") from error
            return moment
        fits = {
            Kind.TEXT: isinstance(operand, str),
            Kind.TEXTS: isinstance(operand, str),
            Kind.INTEGER: type(operand) is int and -_BIGINT <= operand < _BIGINT,
            Kind.AMOUNT: type(operand) in (int, float) and abs(operand) < _BIGINT,
            Kind.BOOLEAN: isinstance(operand, bool),
            Kind.MOMENT: False,
        }
        if not fits[self.kind]:
            raise Unfit(f"the value must be {self.kind.value}")
        # A float is near to $ 0.10, and no more.
        return Decimal(str(operand)) if self.kind is Kind.AMOUNT else operand


def _constant(name: str, kind: Kind, value: Any) -> Field:
    """Make a field that has one value for every row, but can be asked for like others."""
    text: CharField[str, str] = CharField()
    output = ArrayField(text) if kind is Kind.TEXTS else text
    return Field(f"wire_{name}", kind, Value(value, output_field=output))


def _open_addresses() -> ArraySubquery:
    """Return the addresses that an instance has, as text."""
    held = AddressClaim.objects.filter(consumer=OuterRef("uuid"), released_at=None)
    # host(): as text, an inet has its prefix length with it.
    host = Func(F("address"), function="host", output_field=CharField())
    text = Cast(host, CharField(max_length=15))
    return ArraySubquery(held.annotate(text=text).values("text"))


def _number(path: str) -> Field:
    return Field(path, Kind.INTEGER)


REGION_FIELDS = {
    "id": Field("slug"),
    "country": Field("country"),
    "site_type": _constant("site_type", Kind.TEXT, "core"),
}
TYPE_FIELDS = {
    "id": Field("slug"),
    "label": Field("label"),
    "class": Field("plan_class"),
    "vcpus": _number("vcpus"),
    "memory": _number("memory_mib"),
    "disk": _number("disk_mib"),
    "transfer": _number("transfer_gb"),
    "network_out": _number("network_out_mbps"),
    "gpus": _number("cards"),
    "accelerated_devices": Field("wire_accelerated", Kind.INTEGER, Value(0)),
}
KERNEL_FIELDS = {
    **{name: Field(name) for name in ("id", "label", "version", "architecture")},
    **{name: Field(name, Kind.BOOLEAN) for name in ("kvm", "pvops", "deprecated")},
}
IMAGE_FIELDS = {
    "id": Field("slug"),
    "label": Field("label"),
    "vendor": Field("vendor"),
    "status": Field("status"),
    "size": _number("size_mib"),
    "type": _constant("type", Kind.TEXT, "manual"),
    "tags": _constant("tags", Kind.TEXTS, []),
    "is_public": Field("wire_public", Kind.BOOLEAN, Value(True)),
    "is_shared": Field("wire_shared", Kind.BOOLEAN, Value(False)),
    "deprecated": Field("wire_deprecated", Kind.BOOLEAN, Value(False)),
}
INSTANCE_FIELDS = {
    "id": _number("pk"),
    "label": Field("label"),
    "region": Field("region__slug"),
    "image": Field("image__slug"),
    "tags": Field("tags", Kind.TEXTS),
    "group": _constant("group", Kind.TEXT, ""),
    "ipv4": Field("wire_ipv4", Kind.TEXTS, _open_addresses()),
    "interface_generation": _constant("interfaces", Kind.TEXT, "legacy_config"),
    "placement_group.label": Field("placement_member__group__label"),
    "placement_group.placement_group_type": Field(
        "wire_pg_type",
        Kind.TEXT,
        Case(
            When(placement_member__isnull=False, then=Value(wire.ANTI_AFFINITY)),
            output_field=CharField(),
        ),
    ),
}
RESERVATION_FIELDS = {
    "id": _number("pk"),
    "type": Field("plan__slug"),
    "region": Field("region__slug"),
    "status": Field("state"),
    "created": Field("created_at", Kind.MOMENT),
    "expires": Field("expires_at", Kind.MOMENT),
}
WAITLIST_FIELDS = {
    "id": _number("pk"),
    "type": Field("plan__slug"),
    "region": Field("region__slug"),
    "status": Field("status"),
    "created": Field("created_at", Kind.MOMENT),
}
TRIAL_FIELDS = {
    "id": _number("pk"),
    "start": Field("starts_at", Kind.MOMENT),
    "end": Field("ends_at", Kind.MOMENT),
}
WEBHOOK_FIELDS = {
    "id": _number("pk"),
    "url": Field("url"),
    "created": Field("created_at", Kind.MOMENT),
}
DELIVERY_FIELDS = {
    "id": Field("wire_uuid", Kind.TEXT, Cast("uuid", CharField())),
    "event_id": Field("event__id", Kind.INTEGER),
    "action": Field("event__action"),
    "status": Field("state"),
    "created": Field("created_at", Kind.MOMENT),
}
FIREWALL_FIELDS = {
    "id": _number("pk"),
    "label": Field("label"),
    "tags": Field("tags", Kind.TEXTS),
    "created": Field("created_at", Kind.MOMENT),
    "updated": Field("updated_at", Kind.MOMENT),
}
FIREWALL_DEVICE_FIELDS = {
    "id": _number("pk"),
    "created": Field("created_at", Kind.MOMENT),
    "updated": Field("updated_at", Kind.MOMENT),
}
PLACEMENT_GROUP_FIELDS = {
    "id": _number("pk"),
    "label": Field("label"),
    "region": Field("region__slug"),
    "placement_group_type": _constant("pg_type", Kind.TEXT, wire.ANTI_AFFINITY),
}
DISK_FIELDS = {"label": Field("label"), "size": Field("size", Kind.INTEGER)}
CONFIG_FIELDS = {"label": Field("label")}
QUOTA_FIELDS = {
    "gpu_model": Field("gpu_model"),
    "used": _number("used"),
}
GPU_MODEL_FIELDS = {
    "id": Field("id"),
    "label": Field("label"),
    "memory_mib": _number("memory_mib"),
}
INVENTORY_FIELDS = {
    "region": Field("region"),
    "type": Field("type"),
    "gpu_model": Field("gpu_model"),
    "gpus": _number("gpus"),
    "available": Field("available", Kind.BOOLEAN),
}
GPU_FIELDS = {
    "id": Field("id"),
    "model": Field("model"),
    "pci_address": Field("pci_address"),
    "node": _number("node"),
}
USAGE_FIELDS = {
    "linode_id": _number("linode_id"),
    "label": Field("label"),
    "type": Field("type"),
    "region": Field("region"),
    "is_billed": Field("is_billed", Kind.BOOLEAN),
}
INVOICE_FIELDS = {
    "id": _number("pk"),
    "label": Field("label"),
    "date": Field("issued_at", Kind.MOMENT),
    "total": Field("total", Kind.AMOUNT),
    "billing_source": _constant("billing_source", Kind.TEXT, "linode"),
}
AVAILABILITY_FIELDS = {
    "region": Field("region"),
    "plan": Field("plan"),
    "available": Field("available", Kind.BOOLEAN),
}
EVENT_FIELDS = {
    # Linode fills these in for maintenance alone, of which no event tells here.
    **{
        f"details.{name}": _constant(f"details_{name}", Kind.TEXT, None)
        for name in (
            *("complete_time", "description", "maintenance_policy_set"),
            *("not_before", "source", "start_time"),
        )
    },
    "id": _number("pk"),
    "action": Field("action"),
    "created": Field("created_at", Kind.MOMENT),
    "entity.id": _number("entity_id"),
    "entity.type": Field("entity_type"),
}
SSH_KEY_FIELDS = {"id": _number("pk"), "label": Field("label")}
TOKEN_FIELDS = {
    "id": _number("pk"),
    "label": Field("label"),
    "created": Field("created_at", Kind.MOMENT),
}
USER_FIELDS = {"username": Field("username")}
ACCOUNT_AVAILABILITY_FIELDS = {"region": Field("slug")}
BETA_FIELDS = {
    "id": Field("slug"),
    "label": Field("label"),
    "started": Field("started_at", Kind.MOMENT),
    "ended": Field("ended_at", Kind.MOMENT),
    "greenlight_only": Field("greenlight_only", Kind.BOOLEAN),
}
ACCOUNT_BETA_FIELDS = {
    "id": Field("beta__slug"),
    "label": Field("beta__label"),
    "started": Field("beta__started_at", Kind.MOMENT),
    "ended": Field("beta__ended_at", Kind.MOMENT),
    "enrolled": Field("enrolled_at", Kind.MOMENT),
}
MAINTENANCE_FIELDS = {
    "type": _constant("type", Kind.TEXT, "power_off_on"),
    "status": _constant("status", Kind.TEXT, "pending"),
    "maintenance_policy_set": _constant(
        "maintenance_policy", Kind.TEXT, "linode/power_off_on"
    ),
    **{
        name: _constant(name, Kind.TEXT, None)
        for name in ("when", "not_before", "start_time", "complete_time")
    },
}
NOTIFICATION_FIELDS = {
    "type": _constant("type", Kind.TEXT, "maintenance"),
    "entity.type": _constant("entity_type", Kind.TEXT, "linode"),
}
