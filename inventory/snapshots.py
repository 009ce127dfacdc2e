"""Turn rows into HostSnapshots for place(), in a fixed number of queries."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from functools import reduce
from operator import or_

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from inventory.choices import AlertClass, CardCondition, HostConnection, HostPolicy
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
from inventory.topology import FreeCard, HostSnapshot, NodeSnapshot

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
        ~is_blocked(host="pk", region="region"),
        is_answering(),
        policy=HostPolicy.IN_SERVICE,
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


def free_cards() -> QuerySet[Card]:
    """Return the cards that are ready and that nobody holds, on whatever host.

    Nothing prevents their claim but perhaps their host.
    """
    held = CardClaim.objects.filter(card=OuterRef("pk"), released_at=None)
    return Card.objects.filter(
        ~Exists(held), ~is_blocked(card="pk"), condition=CardCondition.READY
    )


def is_blocked(**outer: str) -> Q:
    """Return "an open discrepancy or alert prevents claims", for the subjects named."""
    alerts = Alert.objects.filter(
        reduce(or_, (Q(**{name: OuterRef(path)}) for name, path in outer.items())),
        alert_class=AlertClass.PREVENTS_CLAIMS,
        cleared_at=None,
    )
    discrepancies = Discrepancy.objects.filter(prevents_claims=True, resolved_at=None)
    if "card" in outer:
        discrepancies = discrepancies.filter(card=OuterRef(outer["card"]))
    else:
        discrepancies = discrepancies.filter(host=OuterRef(outer["host"]), card=None)
    return Q(Exists(alerts)) | Q(Exists(discrepancies))


def snapshots_of(hosts: Iterable[Host]) -> list[HostSnapshot]:
    """Return one snapshot per host, sorted by id; four queries for any number of hosts."""
    by_id = {host.pk: host for host in hosts}
    nodes = list(NumaNode.objects.filter(host__in=by_id).order_by("host_id", "number"))
    cards: dict[int, list[FreeCard]] = defaultdict(list)
    rows = free_cards().filter(host__in=by_id).order_by("slot_path", "pk")
    for pk, node_id, model in rows.values_list("pk", "numa_node_id", "gpu_model__slug"):
        cards[node_id].append(FreeCard(pk, model))
    taken: dict[int, set[int]] = defaultdict(set)
    used_mib: dict[int, int] = defaultdict(int)
    claims = NodeClaim.objects.filter(numa_node__host__in=by_id, released_at=None)
    for node_id, cpus, mib in claims.values_list("numa_node_id", "cpus", "memory_mib"):
        taken[node_id].update(cpus)
        used_mib[node_id] += mib
    cores: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    blocked: set[tuple[int, int]] = set()
    cpu_rows = HostCpu.objects.filter(numa_node__host__in=by_id).order_by("number")
    for node_id, core, number, reserved in cpu_rows.values_list(
        "numa_node_id", "core", "number", "is_reserved"
    ):
        cores[node_id][core].append(number)
        if reserved or number in taken[node_id]:
            blocked.add((node_id, core))
    per_host: dict[int, list[NodeSnapshot]] = defaultdict(list)
    for node in nodes:
        per_host[node.host_id].append(
            NodeSnapshot(
                number=node.number,
                cards=tuple(cards[node.pk]),
                cores=tuple(
                    tuple(cpus)
                    for core, cpus in sorted(cores[node.pk].items())
                    if (node.pk, core) not in blocked
                ),
                memory_mib=max(
                    0, node.memory_mib - node.reserved_memory_mib - used_mib[node.pk]
                ),
            )
        )
    return [
        HostSnapshot(pk, by_id[pk].name, tuple(per_host[pk])) for pk in sorted(by_id)
    ]
