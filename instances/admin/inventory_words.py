"""Teach the inventory's pages what it cannot know: who holds claims, what is sellable."""

from collections.abc import Collection
from uuid import UUID

from django.db.models import Q
from django.utils.translation import gettext_lazy

from instances.capacity import sellable_cards
from instances.models import Instance, Plan, Reservation
from inventory.admin.card_filters import add_state
from inventory.admin.holders import name_holders_with


def teach() -> None:
    name_holders_with(_holder_names)
    add_state("sellable", gettext_lazy("sellable now"), _sellable)


def _holder_names(consumers: Collection[UUID]) -> dict[UUID, str]:
    rows = Instance.objects.filter(uuid__in=consumers).values_list(
        "uuid", "label", "account__name"
    )
    instances = {uuid: f"{label} ({account})" for uuid, label, account in rows}
    held = Reservation.objects.filter(uuid__in=set(consumers) - set(instances))
    reservations = {
        row.uuid: f"{row} ({row.account})" for row in held.select_related("account")
    }
    return instances | reservations


def _sellable() -> Q:
    return sellable_cards(Plan.objects.filter(is_sold=True).select_related("gpu_model"))
