"""Turn rows into HostSnapshots for place(), in a fixed number of queries."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now

from inventory.choices import (
    GONE_CONDITIONS,
    AlertClass,
    CardCondition,
    HostConnection,
    HostPolicy,
)
from inventory.host_contents import CardState, Holding, HostContents, NodeContents
from inventory.models import (
    Alert,
    Card,
    CardClaim,
    Discrepancy,
    Host,
    HostCpu,
    NodeClaim,
    NumaNode,
)
from inventory.topology import HostSnapshot

STALE_CYCLES = 3


def stale_after() -> timedelta:
    """Return how old the last sight of a host may be before it sells nothing."""
    return timedelta(seconds=STALE_CYCLES * settings.RECONCILE_CYCLE_S)


def accepting_hosts() -> QuerySet[Host]:
    """Return the hosts on which a claim may be made.

    A host that nobody has looked at for some cycles is as unknown as one that was asked
    in vain: should reconciliation stand still, sales stop with it.
    """
    return Host.objects.filter(
        is_unblocked(), is_answering(), policy=HostPolicy.IN_SERVICE
    )


def is_answering(prefix: str = "") -> Q:
    """Return "the host was seen lately, and compared"; prefix: the path to it, as host__."""
    return Q(
        **{
            f"{prefix}connection": HostConnection.OK,
            f"{prefix}last_seen_at__isnull": False,
            f"{prefix}last_seen_at__gt": Now() - stale_after(),
        }
    )


def is_unblocked() -> Q:
    """Return "no alert or discrepancy keeps the host from sale", for a query of hosts.

    What blocks is looked up once, not once a host: it is little, and hosts are many.
    """
    alerts = _blocking_alerts()
    discrepancies = _blocking_discrepancies().filter(card=None)
    return (
        ~Q(pk__in=alerts.filter(host__isnull=False).values("host"))
        & ~Q(region__in=alerts.filter(region__isnull=False).values("region"))
        & ~Q(pk__in=discrepancies.values("host"))
    )


def is_free_of_many() -> Q:
    """Return "ready, and nobody holds it", on whatever host, for cards of all the fleet.

    Nothing prevents their claim but perhaps their host.
    """
    held = CardClaim.objects.filter(card=OuterRef("pk"), released_at=None)
    return Q(~Exists(held)) & is_sound_of_many()


def is_sound() -> Q:
    """Return "ready, and no alert or discrepancy keeps it from sale", for cards."""
    alerts = _blocking_alerts().filter(card=OuterRef("pk"))
    discrepancies = _blocking_discrepancies().filter(card=OuterRef("pk"))
    return (
        ~Q(Exists(alerts))
        & ~Q(Exists(discrepancies))
        & Q(condition=CardCondition.READY)
    )


def is_sound_of_many() -> Q:
    """Return is_sound() for most of the fleet: what blocks is looked up once for all."""
    alerts = _blocking_alerts().filter(card__isnull=False)
    discrepancies = _blocking_discrepancies().filter(card__isnull=False)
    return (
        Q(condition=CardCondition.READY)
        & ~Q(pk__in=alerts.values("card"))
        & ~Q(pk__in=discrepancies.values("card"))
    )


def _blocking_alerts() -> QuerySet[Alert]:
    return Alert.objects.filter(
        alert_class=AlertClass.PREVENTS_CLAIMS, cleared_at=None
    ).order_by()


def _blocking_discrepancies() -> QuerySet[Discrepancy]:
    return Discrepancy.objects.filter(prevents_claims=True, resolved_at=None).order_by()


def snapshots_of(hosts: Iterable[Host]) -> list[HostSnapshot]:
    """Return one snapshot per host, sorted by id; four queries for any number of hosts."""
    return [contents.snapshot() for contents in contents_of(hosts)]


def contents_of(hosts: Iterable[Host]) -> list[HostContents]:
    """Return what stands on each host and who holds it, by id; four queries in all."""
    names = {host.pk: host.name for host in hosts}
    contents = {pk: HostContents(pk, names[pk]) for pk in sorted(names)}
    nodes: dict[int, NodeContents] = {}
    for row in NumaNode.objects.filter(host__in=names).order_by("host_id", "number"):
        pages = {int(size): count for size, count in row.hugepages.items()}
        nodes[row.pk] = NodeContents(row.number, row.ordinary_memory_mib, pages)
        contents[row.host_id].nodes.append(nodes[row.pk])
    _add_cores(nodes)
    _add_cards(nodes)
    _add_holdings(nodes)
    return list(contents.values())


def _add_cores(nodes: dict[int, NodeContents]) -> None:
    cores: dict[tuple[int, int], list[int]] = defaultdict(list)
    reserved: set[tuple[int, int]] = set()
    rows = HostCpu.objects.filter(numa_node__in=nodes).order_by("number")
    for node_id, core, number, is_reserved in rows.values_list(
        "numa_node_id", "core", "number", "is_reserved"
    ):
        cores[node_id, core].append(number)
        if is_reserved:
            reserved.add((node_id, core))
    for (node_id, core), cpus in sorted(cores.items()):
        if (node_id, core) not in reserved:
            nodes[node_id].cores.append(tuple(cpus))


def _add_cards(nodes: dict[int, NodeContents]) -> None:
    open_claims = CardClaim.objects.filter(card=OuterRef("pk"), released_at=None)
    rows = (
        Card.objects.filter(numa_node__in=nodes)
        .exclude(condition__in=GONE_CONDITIONS)
        .annotate(sound=is_sound(), holder=Subquery(open_claims.values("consumer")[:1]))
        .order_by("slot_path", "pk")
    )
    for node_id, *card in rows.values_list(
        "numa_node_id",
        "pk",
        "gpu_model__slug",
        "sound",
        "holder",
        "condition",
        "slot_path",
    ):
        nodes[node_id].cards.append(CardState(*card))


def _add_holdings(nodes: dict[int, NodeContents]) -> None:
    rows = NodeClaim.objects.filter(numa_node__in=nodes, released_at=None)
    for node_id, consumer, cpus, mib, page_kib in rows.values_list(
        "numa_node_id", "consumer", "cpus", "memory_mib", "hugepage_kib"
    ):
        held = Holding(consumer, frozenset(cpus), mib, page_kib)
        nodes[node_id].holdings.append(held)
