"""Why a request fits nowhere in a region, in bounded work whatever the fleet's size."""

from django.contrib.postgres.fields import ArrayField
from django.db.models import Aggregate, CharField, Count, Max, Min

from instances.fitting import fit
from instances.placement import ANYWHERE, Apart, NoFit, Request
from instances.refusal import Closed, Occupied, Refused, failures
from inventory.closed_hosts import WITH_AGE, closed_hosts, why_text
from inventory.models import Region
from inventory.shape import room_in
from inventory.snapshots import accepting_hosts

# Names told of each group of hosts.
NAMED = 20


class _FirstNames(Aggregate):
    template = f"(array_agg(%(expressions)s ORDER BY %(expressions)s))[1:{NAMED}]"
    output_field = ArrayField(CharField())


def why_not(request: Request, region: Region, apart: Apart = ANYWHERE) -> NoFit:
    """Return every host's reasons in groups; for staff only, two queries.

    A third if there are hosts to keep off.
    """
    apart = ANYWHERE if apart.may_share else apart
    groups = [*_open_groups(request, region, apart), *_closed_groups(region)]
    if apart.host_ids:
        groups += _occupied_group(region, apart)
    return NoFit(tuple(groups))


def _open_groups(request: Request, region: Region, apart: Apart) -> list[Refused]:
    free = accepting_hosts().filter(region=region).exclude(pk__in=apart.host_ids)
    rows = free.order_by().values("free_shape")
    found: dict[tuple[object, ...], Refused] = {}
    for shape, hosts, names in rows.annotate(
        hosts=Count("pk"), names=_FirstNames("name")
    ).values_list("free_shape", "hosts", "names"):
        room = room_in(shape)
        if fit(request, room) is not None:
            # Freed since the claim looked; the next try takes it.
            continue
        reasons = failures(request, room)
        known = found.get(reasons, Refused(reasons, 0, ()))
        both = sorted([*known.names, *names])[:NAMED]
        found[reasons] = Refused(reasons, known.hosts + hosts, tuple(both))
    return list(found.values())


def _occupied_group(region: Region, apart: Apart) -> list[Refused]:
    rows = accepting_hosts().filter(region=region, pk__in=apart.host_ids)
    names = tuple(rows.order_by("name").values_list("name", flat=True))
    return [Refused((Occupied(apart.group),), len(names), names)] if names else []


def _closed_groups(region: Region) -> list[Refused]:
    rows = closed_hosts(region).order_by().values("why")
    groups = []
    for why, hosts, names, least, most in rows.annotate(
        hosts=Count("pk"),
        names=_FirstNames("name"),
        least=Min("silent_for"),
        most=Max("silent_for"),
    ).values_list("why", "hosts", "names", "least", "most"):
        ages = (least, most) if why in WITH_AGE else ()
        reason = Closed(why_text(why), tuple(int(age.total_seconds()) for age in ages))
        groups.append(Refused((reason,), hosts, tuple(names)))
    return groups
