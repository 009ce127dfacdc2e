"""The claim in process beside the same claim as bare psycopg statements, interleaved.

    python -m benchmarks.claim_in_process

Both run on one database with all its constraints and triggers, claim and release a card
with 8 cores and 64 GiB and tell the ledger. The bare side knows the shape that it wants and
the one that it leaves, and asks no policy.
"""

import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable

import django
import psycopg

from benchmarks import servers
from benchmarks.claim_work import CARD_CORES, CARD_MIB

ROUNDS, CYCLES = 6, 100

_LOCK = """
SELECT id, free_shape FROM inventory_host
 WHERE region_id = %s AND policy = 'in_service' AND connection = 'ok' AND free_shape = %s
 ORDER BY id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
"""
_CHOOSE = """
SELECT n.id, (SELECT min(c.id) FROM inventory_card c
               WHERE c.numa_node_id = n.id AND c.condition = 'ready' AND NOT EXISTS (
                   SELECT FROM inventory_cardclaim k
                    WHERE k.card_id = c.id AND k.released_at IS NULL)) AS card,
       ARRAY(SELECT p.number FROM inventory_hostcpu p
              WHERE p.numa_node_id = n.id AND NOT p.is_reserved AND NOT EXISTS (
                  SELECT FROM inventory_nodeclaim k WHERE k.numa_node_id = n.id
                     AND k.released_at IS NULL AND p.number = ANY (k.cpus))
              ORDER BY p.number LIMIT %s)
  FROM inventory_numanode n WHERE n.host_id = %s ORDER BY card NULLS LAST LIMIT 1
"""
_NODE = """
INSERT INTO inventory_nodeclaim
    (numa_node_id, consumer, cpus, vcpus, memory_mib, hugepage_kib, claimed_at)
VALUES (%s, %s, %s, %s, %s, 0, clock_timestamp())
"""
_CARD = """
INSERT INTO inventory_cardclaim (card_id, consumer, claimed_at, is_hold)
VALUES (%s, %s, clock_timestamp(), true) RETURNING id
"""
_EVENT = """
INSERT INTO inventory_cardevent (card_id, at, kind, from_condition, to_condition, actor,
    reason, consumer, claim_id, slot_path)
VALUES (%s, clock_timestamp(), %s, 'ready', 'ready', 'bench', 'bare', %s, %s, '')
"""
_SHAPE = "UPDATE inventory_host SET free_shape = %s WHERE id = %s"
_LOCK_AGAIN = "SELECT id FROM inventory_host WHERE id = %s FOR NO KEY UPDATE"
_END_NODE = """
UPDATE inventory_nodeclaim SET released_at = clock_timestamp()
 WHERE consumer = %s AND released_at IS NULL
"""
_END_CARD = """
UPDATE inventory_cardclaim SET released_at = clock_timestamp()
 WHERE consumer = %s AND released_at IS NULL RETURNING id, card_id
"""


def bare_cycle(
    connection: "psycopg.Connection[tuple[object, ...]]",
    region: int,
    shapes: tuple[str, str],
) -> None:
    before, after = shapes
    consumer, run = uuid.uuid4(), connection.execute
    with connection.transaction():
        ((host, _),) = run(_LOCK, (region, before)).fetchall()
        ((node, card, cpus),) = run(_CHOOSE, (CARD_CORES, host)).fetchall()
        run(_NODE, (node, consumer, cpus, CARD_CORES, CARD_MIB))
        ((claim,),) = run(_CARD, (card, consumer)).fetchall()
        run(_EVENT, (card, "held", consumer, claim))
        run(_SHAPE, (after, host))
    with connection.transaction():
        run(_LOCK_AGAIN, (host,))
        run(_END_NODE, (consumer,))
        ((claim, card),) = run(_END_CARD, (consumer,)).fetchall()
        run(_EVENT, (card, "released", consumer, claim))
        run(_SHAPE, (before, host))


def own_cycle() -> Callable[[], None]:
    """Return one claim and release by the product."""
    from django.db import transaction

    from instances.claiming import claim_capacity
    from instances.models import Plan
    from instances.selectors import request_of
    from inventory.ledger import Actor, release
    from inventory.models import Region

    request, region = request_of(Plan.objects.get()), Region.objects.get()
    actor = Actor("user:bench", "a benchmark")

    def cycle() -> None:
        consumer = uuid.uuid4()
        with transaction.atomic():
            claim_capacity(request, region, consumer, actor, is_hold=True)
        with transaction.atomic():
            release(consumer, actor)

    return cycle


def measured(cycle: Callable[[], None], milliseconds: list[float]) -> None:
    for _ in range(CYCLES):
        began = time.perf_counter()
        cycle()
        milliseconds.append((time.perf_counter() - began) * 1e3)


def main() -> None:
    hosts = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    os.environ["DATABASE_URL"] = servers.database_url(f"bench_claim_{hosts}")
    fill = (
        "import django; django.setup(); from benchmarks import claim_fleet; "
        f"claim_fleet.prepare({hosts}, 0)"
    )
    subprocess.run([sys.executable, "-c", fill], check=True)
    django.setup()
    from inventory.models import Host

    own = own_cycle()
    host = Host.objects.filter(free_shape__contains="rtx6000=1 ").order_by("pk")[0]
    shapes = (host.free_shape, host.free_shape + " less one")
    times: dict[str, list[float]] = {"own": [], "bare": []}
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:

        def bare() -> None:
            bare_cycle(connection, host.region_id, shapes)

        for cycle in (own, bare):
            measured(cycle, [])
        for _ in range(ROUNDS):
            measured(own, times["own"])
            measured(bare, times["bare"])
    own_ms, bare_ms = (statistics.median(times[name]) for name in ("own", "bare"))
    print(
        f"{hosts} hosts, claim and release, p50: own {own_ms:.2f} ms, bare {bare_ms:.2f} ms, "
        f"ratio {own_ms / bare_ms:.2f}"
    )


if __name__ == "__main__":
    main()
