"""Write a large fleet in use into an empty database, in bulk and without its triggers.

Import only after django.setup(). Rows are such as enrolment and claims would have made.
"""

import random
import uuid
from collections.abc import Iterator

from django.db import connection, transaction
from django.utils import timezone

from instances.placement import Placement, Request, place
from inventory.choices import CardCondition, HostConnection
from inventory.ledger import clock
from inventory.models import (
    Card,
    CardClaim,
    GpuModel,
    Host,
    NodeClaim,
    NumaNode,
    Region,
)
from inventory.shape import shape_of
from inventory.snapshots import snapshots_of
from inventory.topology import HostSnapshot, NodeShare

NODES, CARDS, CORES, MEMORY_MIB = 2, 4, 32, 262144
SIZES = {1: 0.55, 2: 0.20, 3: 0.05, 4: 0.20}
CPUS_A_CARD, MIB_A_CARD = 8, 65536
_TABLES = ("inventory_card", "inventory_cardclaim", "inventory_nodeclaim")

_CPU_ROWS = """
INSERT INTO inventory_hostcpu (numa_node_id, number, core, is_reserved)
SELECT node.id, node.number * %s + serial, node.number * %s + serial, false
FROM inventory_numanode node, generate_series(0, %s - 1) AS serial
"""
_CARD_ROWS = """
INSERT INTO inventory_card (host_id, numa_node_id, gpu_model_id, identity,
    identity_is_weak, slot_path, condition, condition_changed_at, enrolled_at)
SELECT node.host_id, node.id, %s, node.id || '-' || serial, true,
    '0000:' || node.number || serial || ':00', 'ready', now(), now()
FROM inventory_numanode node, generate_series(0, %s - 1) AS serial
"""


def request(gpus: int) -> Request:
    """Return a plan of that size: cards, CPUs and memory run out together."""
    return Request(CPUS_A_CARD * gpus, MIB_A_CARD * gpus, gpus, "gpu")


def build(hosts: int, seed: int = 1) -> Region:
    """Make `hosts` hosts of 2 x 4 cards, on average half used; return their region."""
    chance = random.Random(seed)
    region = Region.objects.create(slug="bench", label="Bench", country="us")
    model = GpuModel.objects.create(slug="gpu", name="GPU", memory_mib=24576)
    with transaction.atomic(), connection.cursor() as cursor:
        for table in _TABLES:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        made = Host.objects.bulk_create(_hosts(region, hosts), batch_size=1000)
        NumaNode.objects.bulk_create(
            [
                NumaNode(
                    host=host, number=n, memory_mib=MEMORY_MIB, reserved_memory_mib=0
                )
                for host in made
                for n in range(NODES)
            ],
            batch_size=2000,
        )
        cursor.execute(_CPU_ROWS, [CORES, CORES, CORES])
        cursor.execute(_CARD_ROWS, [model.pk, CARDS])
        for start in range(0, hosts, 500):
            _use(made[start : start + 500], chance)
    with connection.cursor() as cursor:
        for table in _TABLES:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        cursor.execute("ANALYZE")
    return region


def _hosts(region: Region, count: int) -> Iterator[Host]:
    now = timezone.now() + timezone.timedelta(days=1)
    for number in range(count):
        yield Host(
            name=f"h{number}",
            region=region,
            libvirt_uri=f"test://h{number}",
            host_uuid=uuid.UUID(int=number + 1),
            domain_type="kvm",
            connection=HostConnection.OK,
            # Seen in the future, so that it stays on sale while the benchmark runs.
            last_seen_at=now,
        )


def _use(hosts: list[Host], chance: random.Random) -> None:
    nodes = {
        (node.host_id, node.number): node
        for node in NumaNode.objects.filter(host__in=hosts)
    }
    now = clock()
    node_claims, card_claims = [], []
    for host, snapshot in zip(hosts, snapshots_of(hosts), strict=True):
        left, held = _launched(snapshot, chance)
        host.free_shape = shape_of(left)
        for consumer, share in held:
            node_claims.append(
                NodeClaim(
                    numa_node=nodes[host.pk, share.node],
                    consumer=consumer,
                    cpus=list(share.cpus),
                    vcpus=share.vcpus,
                    memory_mib=share.memory_mib,
                    claimed_at=now,
                )
            )
            card_claims += [
                CardClaim(card_id=card_id, consumer=consumer, claimed_at=now)
                for card_id in share.card_ids
            ]
    NodeClaim.objects.bulk_create(node_claims)
    CardClaim.objects.bulk_create(card_claims)
    Host.objects.bulk_update(hosts, ["free_shape"])


def _launched(
    host: HostSnapshot, chance: random.Random
) -> tuple[HostSnapshot, list[tuple[uuid.UUID, NodeShare]]]:
    """Launch random sizes until a random number of cards is used."""
    wanted = chance.randint(0, NODES * CARDS)
    held: list[tuple[uuid.UUID, NodeShare]] = []
    while sum(len(share.card_ids) for _, share in held) < wanted:
        (gpus,) = chance.choices(list(SIZES), list(SIZES.values()))
        placed = place(request(gpus), [host])
        if not isinstance(placed, Placement):
            break
        consumer = uuid.UUID(int=chance.getrandbits(128), version=4)
        held += [(consumer, share) for share in placed.shares]
        host = host.less(placed.shares)
    return host, held


def free_cards_by_sql() -> list[tuple[int, int, int]]:
    """Count the free card rows by region and model: what others do instead of placing."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT host.region_id, card.gpu_model_id, count(*)
            FROM inventory_card card JOIN inventory_host host ON host.id = card.host_id
            WHERE card.condition = %s AND NOT EXISTS (
                SELECT 1 FROM inventory_cardclaim claim
                WHERE claim.card_id = card.id AND claim.released_at IS NULL)
            GROUP BY host.region_id, card.gpu_model_id
            """,
            [CardCondition.READY],
        )
        return list(cursor.fetchall())


def card_total() -> int:
    return Card.objects.count()
