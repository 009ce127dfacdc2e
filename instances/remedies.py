"""Find the smallest change that would admit a refused request, and say it to staff."""

from collections.abc import Iterator
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from instances.changes import Change, ChangeKind, changes_on, smallest
from instances.fleet_owners import owners_of
from instances.placement import Request
from instances.refusal import age_text
from inventory.choices import CardCondition
from inventory.closed_hosts import BLOCKED, WITH_AGE, closed_hosts, why_text
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
        told = ngettext(
            "Have card %(cards)s of %(host)s made ready.",
            "Have cards %(cards)s of %(host)s made ready.",
            change.size,
        )
        return told % {"cards": cards, "host": change.host}
    if change.consumer is not None:
        return _release(change.consumer, change.host)
    return _("Add one host more like %(host)s.") % {"host": change.host}


def _release(consumer: UUID, host: str) -> str:
    owner = owners_of([consumer]).get(consumer)
    if owner is None:
        told = _("Release what %(holder)s holds on %(host)s.")
    elif owner.instance_id is None:
        told = _("Release %(holder)s, whose cards are free at once, on %(host)s.")
    else:
        told = _(
            "Release instance %(holder)s, whose cards are cleaned then, on %(host)s."
        )
    return told % {"holder": owner.instance if owner else consumer, "host": host}


def _fault(condition: str) -> str:
    if condition == CardCondition.READY:
        return _("an alert prevents its claim")
    return str(CardCondition(condition).label)


def _open(name: str, region: Region) -> str:
    row = closed_hosts(region).filter(name=name).values("why", "silent_for").first()
    if row is None:
        return _("Try again: %(host)s accepts instances by now.") % {"host": name}
    if row["why"] == BLOCKED:
        return _("Resolve the alert or discrepancy that blocks %(host)s.") % {
            "host": name
        }
    if row["why"] in WITH_AGE:
        age = age_text(int(row["silent_for"].total_seconds()))
        told = _("Bring %(host)s back: %(why)s for %(age)s.")
        return told % {"host": name, "why": why_text(row["why"]), "age": age}
    told = _("Put %(host)s back in service: it is %(why)s.")
    return told % {"host": name, "why": why_text(row["why"])}
