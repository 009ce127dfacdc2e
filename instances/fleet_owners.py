"""Say whose a card's holder is: consumer UUID -> instance or reservation -> account."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

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
    """Return the owner of each consumer that is or was known; two queries."""
    wanted = set(consumers)
    held = Reservation.objects.filter(uuid__in=wanted).values_list(
        "uuid", "account_id", "account__name", "pk"
    )
    owners = {
        uuid: Owner(account_id, account, None, f"reservation {pk}")
        for uuid, account_id, account, pk in held
    }
    # An instance has the UUID of the reservation that it used.
    rows = Instance.objects.filter(uuid__in=wanted).values_list(
        "uuid", "account_id", "account__name", "pk", "label"
    )
    owners.update((row[0], Owner(*row[1:])) for row in rows)
    return owners
