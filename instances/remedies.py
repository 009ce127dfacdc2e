"""Find the smallest change that would admit a refused request, and say it to staff."""

from collections.abc import Iterator
from uuid import UUID

from instances.changes import Change, ChangeKind, changes_on, smallest
from instances.fleet_owners import owners_of
from instances.placement import Request
from instances.refusal import age_text
from inventory.closed_hosts import BLOCKED, WITH_AGE, closed_hosts
from inventory.models import Host, Region
from inventory.shape import HostRoom, room_in
from inventory.snapshots import accepting_hosts, contents_of

# Hosts looked at closely, one of each free shape: the work is bounded, not the fleet.
LOOKED_AT = 64


def remedy_for(request: Request, region: Region) -> str:
    """Return the smallest change as one sentence; empty if none was found.

    A card is looked for, and an instance to release, on LOOKED_AT hosts of distinct
    shapes, so a smaller change may exist elsewhere; the one named does help. Eight queries.
    """
    change = smallest_change(request, region)
    return _sentence(change, region) if change else ""


def smallest_change(request: Request, region: Region) -> Change | None:
    """Return the smallest change found, for remedy_for() and for what applies it."""
    return smallest(request, _closed(region)) or smallest(request, _on_hosts(region))


def _closed(region: Region) -> Iterator[tuple[Change, HostRoom]]:
    """Yield one host of each shape that one thing alone keeps closed."""
    hosts = closed_hosts(region).filter(faults=1).order_by("free_shape", "name")
    for name, shape in hosts.distinct("free_shape").values_list("name", "free_shape"):
        yield Change(ChangeKind.OPEN_HOST, name), room_in(shape)


def _on_hosts(region: Region) -> Iterator[tuple[Change, HostRoom]]:
    shapes = accepting_hosts().filter(region=region).order_by("free_shape", "pk")
    looked_at = Host.objects.filter(
        pk__in=shapes.distinct("free_shape").values_list("pk", flat=True)[:LOOKED_AT]
    )
    for contents in contents_of(looked_at):
        yield from changes_on(contents)


def _sentence(change: Change, region: Region) -> str:
    if change.kind is ChangeKind.OPEN_HOST:
        return _open(change.host, region)
    if change.kind is ChangeKind.READY_CARDS:
        cards = ", ".join(
            f"{c.slot_path} ({_fault(c.condition)})" for c in change.cards
        )
        what = "card" if change.size == 1 else "cards"
        return f"Have {what} {cards} of {change.host} made ready."
    if change.consumer is not None:
        return f"{_release(change.consumer)} on {change.host}."
    return f"Add one host more like {change.host}."


def _release(consumer: UUID) -> str:
    owner = owners_of([consumer]).get(consumer)
    if owner is None:
        return f"Release what {consumer} holds"
    if owner.instance_id is None:
        return f"Release {owner.instance}, whose cards are free at once,"
    return f"Release instance {owner.instance}, whose cards are cleaned then,"


def _fault(condition: str) -> str:
    return "an alert prevents its claim" if condition == "ready" else condition


def _open(name: str, region: Region) -> str:
    row = closed_hosts(region).filter(name=name).values("why", "silent_for").first()
    if row is None:
        return f"Try again: {name} accepts instances by now."
    if row["why"] == BLOCKED:
        return f"Resolve the alert or discrepancy that blocks {name}."
    if row["why"] in WITH_AGE:
        age = age_text(int(row["silent_for"].total_seconds()))
        return f"Bring {name} back: {row['why']} for {age}."
    return f"Put {name} back in service: it is {row['why']}."
