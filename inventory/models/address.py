"""Addresses for guests, and who has which: pools and claims."""

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, RangeOperators
from django.contrib.postgres.indexes import OpClass
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q

from inventory.addresses import mac_of, slaac_of
from inventory.models.host import Host
from inventory.models.region import Region

# Every claim looks through the range.
MOST_ADDRESSES = 65536


class CidrField(models.Field):
    """A network as text, `10.0.0.0/24`; PostgreSQL's cidr."""

    def db_type(self, connection: Any) -> str:
        return "cidr"

    def from_db_value(self, value: Any, *_: object) -> str | None:
        return None if value is None else str(value)

    def get_prep_value(self, value: Any) -> str | None:
        return str(value) if value else None


class AddressPool(models.Model):
    """A range of IPv4 addresses of one network, for a region or for one host of it.

    The database refuses pools that overlap, and a range or gateway outside the network
    (migration 0010): two instances can never have one address.
    """

    name = models.SlugField(unique=True)
    region = models.ForeignKey(
        Region, on_delete=models.PROTECT, related_name="address_pools"
    )
    host = models.ForeignKey(
        Host,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="address_pools",
        help_text="Only for guests of this host. Empty: for all of the region.",
    )
    network = CidrField(help_text="Such as 203.0.113.0/24.")
    first = models.GenericIPAddressField("first address", protocol="IPv4")
    last = models.GenericIPAddressField("last address", protocol="IPv4")
    gateway = models.GenericIPAddressField(protocol="IPv4")
    nameservers = ArrayField(
        models.GenericIPAddressField(), default=list, blank=True, size=3
    )
    ipv6_prefix = CidrField(
        "IPv6 prefix",
        null=True,
        blank=True,
        help_text="A /64 that a router of the network advertises (SLAAC), or empty.",
    )

    class Meta:
        ordering = ["region", "name"]
        constraints = [
            ExclusionConstraint(
                name="address_pools_are_apart",
                expressions=[
                    (OpClass("network", name="inet_ops"), RangeOperators.OVERLAPS)
                ],
                violation_error_message="Another pool has addresses of this network.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.network})"

    @property
    def prefix_length(self) -> int:
        return IPv4Network(self.network).prefixlen

    def clean(self) -> None:
        """Name the field that the database would refuse."""
        if self.host is not None and self.host.region_id != self.region_id:
            raise ValidationError({"host": f"{self.host} is in another region."})
        try:
            network = IPv4Network(self.network)
        except ValueError as error:
            raise ValidationError({"network": f"Not a network: {error}."}) from error
        self._check_range(network)
        if self.ipv6_prefix:
            self._check_prefix()

    def _check_range(self, network: IPv4Network) -> None:
        names = ("first", "last", "gateway")
        if not all(getattr(self, name) for name in names):
            return  # The form has said so.
        first, last, gateway = (IPv4Address(getattr(self, name)) for name in names)
        problems = {
            name: f"Is not in {network}."
            for name in names
            if IPv4Address(getattr(self, name)) not in network
        }
        if last < first:
            problems.setdefault("last", "Comes before the first address.")
        elif int(last) - int(first) >= MOST_ADDRESSES:
            problems.setdefault(
                "last", f"A pool has {MOST_ADDRESSES} addresses at most."
            )
        if first <= gateway <= last:
            problems.setdefault("gateway", "Is between the first and the last address.")
        if problems:
            raise ValidationError(problems)

    def _check_prefix(self) -> None:
        try:
            is_right = IPv6Network(self.ipv6_prefix).prefixlen == 64
        except ValueError:
            is_right = False
        if not is_right:
            raise ValidationError(
                {"ipv6_prefix": "Must be a /64, such as 2001:db8:1::/64."}
            )


class AddressClaim(models.Model):
    """Who has an address, or had it; it can be ended, once, and never changed."""

    pool = models.ForeignKey(
        AddressPool, on_delete=models.PROTECT, related_name="claims"
    )
    address = models.GenericIPAddressField(protocol="IPv4")
    consumer = models.UUIDField(db_index=True)
    claimed_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-claimed_at", "address"]
        constraints = [
            models.UniqueConstraint(
                fields=["address"],
                condition=Q(released_at=None),
                name="address_one_open_claim",
            ),
            models.UniqueConstraint(
                fields=["consumer"],
                condition=Q(released_at=None),
                name="address_one_open_claim_per_consumer",
            ),
            models.CheckConstraint(
                condition=Q(released_at=None) | Q(released_at__gte=F("claimed_at")),
                name="address_claim_ends_after_start",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.address} for {self.consumer}"

    @property
    def mac(self) -> str:
        return mac_of(self.address)

    @property
    def ipv6(self) -> str:
        """The address that the guest gives itself; empty where there is no prefix."""
        prefix = self.pool.ipv6_prefix
        return slaac_of(prefix, self.mac) if prefix else ""
