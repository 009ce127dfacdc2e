"""Say whose a card's holder is: consumer UUID -> instance -> account."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from instances.models import Instance


@dataclass(frozen=True, slots=True)
class Owner:
    """Who pays for what a consumer holds. instance: its label."""

    account_id: int
    account: str
    instance_id: int
    instance: str


def owners_of(consumers: Iterable[UUID]) -> dict[UUID, Owner]:
    """Return the owner of each consumer that is or was an instance; one query."""
    rows = Instance.objects.filter(uuid__in=set(consumers)).values_list(
        "uuid", "account_id", "account__name", "pk", "label"
    )
    return {row[0]: Owner(*row[1:]) for row in rows}
