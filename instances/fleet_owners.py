"""Say whose a card's holder is: consumer UUID -> instance or reservation -> account."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Value

from instances.models import Instance, Reservation


@dataclass(frozen=True, slots=True)
class Owner:
    """Who pays for what a consumer holds.

    instance: its label. Of a reservation the id is None, and instance names it.
    """

    account_id: int
    account: str
    instance_id: int | None
    instance: str


def owners_of(consumers: Iterable[UUID]) -> dict[UUID, Owner]:
    """Return the owner of each consumer that is or was known; one query."""
    wanted = set(consumers)
    columns = ("uuid", "account_id", "account__name", "pk")
    held = Reservation.objects.filter(uuid__in=wanted).order_by()
    running = Instance.objects.filter(uuid__in=wanted).order_by()
    rows = held.values_list(*columns, Value("")).union(
        running.values_list(*columns, "label"), all=True
    )
    owners: dict[UUID, Owner] = {}
    for uuid, account_id, account, pk, label in rows:
        # An instance has the UUID of the reservation that it used.
        if label:
            owners[uuid] = Owner(account_id, account, pk, label)
        else:
            reserved = Owner(account_id, account, None, f"reservation {pk}")
            owners.setdefault(uuid, reserved)
    return owners
