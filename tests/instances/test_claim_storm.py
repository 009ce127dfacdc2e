"""Many clients claim and release at once: nothing is double, lost, stuck or refused falsely."""

import random
import threading
import uuid
from dataclasses import dataclass, field

import pytest
from django.db import connection, transaction

from instances.capacity import sellable_by_plan
from instances.claiming import claim_capacity
from instances.models import Plan
from instances.placement import NoFit
from instances.selectors import request_of
from inventory.ledger import Actor, release
from inventory.ledger_audit import audit
from inventory.models import CardClaim, Host, NodeClaim, Region
from inventory.shape import shape_of
from inventory.snapshots import snapshots_of
from tests.builders import make_host, make_plan, make_region

CLIENTS, TURNS, HOSTS, CARDS = 16, 25, 12, 8
ACTOR = Actor("user:storm", "a storm")


@dataclass
class Client:
    """What one client claimed, and what went wrong. refused: with capacity to spare."""

    seed: int
    held: list[uuid.UUID] = field(default_factory=list)
    claims: int = 0
    refused: int = 0
    errors: list[str] = field(default_factory=list)

    def run(self, gate: threading.Barrier, plans: list[Plan], region: Region) -> None:
        rng = random.Random(self.seed)  # noqa: S311
        gate.wait()
        try:
            for _ in range(TURNS):
                if len(self.held) >= 2 or (self.held and rng.random() < 0.4):
                    self._release(rng)
                else:
                    self._claim(rng.choice(plans), region)
        except Exception as error:  # noqa: BLE001 -- the test looks at each
            self.errors.append(repr(error))
        finally:
            connection.close()

    def _claim(self, plan: Plan, region: Region) -> None:
        consumer = uuid.uuid4()
        with transaction.atomic():
            placed = claim_capacity(
                request_of(plan), region, consumer, ACTOR, is_hold=True
            )
        if isinstance(placed, NoFit):
            self.refused += 1
        else:
            self.claims += 1
            self.held.append(consumer)

    def _release(self, rng: random.Random) -> None:
        with transaction.atomic():
            release(self.held.pop(rng.randrange(len(self.held))), ACTOR)


@pytest.mark.django_db(transaction=True)
def test_storm_of_claims_and_releases_leaves_every_sum_right() -> None:
    """At most 2 x 16 x 2 of 96 cards are held at once: every claim has room to spare."""
    region = make_region()
    for _ in range(HOSTS):
        make_host(
            cards_per_node=(CARDS // 2, CARDS // 2), cores_per_node=8, memory_mib=4096
        )
    plans = [make_plan(cards=cards, vcpus=cards, memory_mib=256) for cards in (1, 1, 2)]
    advertised = sellable_by_plan(region, plans)
    assert min(advertised.values()) >= 2 * CLIENTS
    clients = [Client(seed) for seed in range(CLIENTS)]
    gate = threading.Barrier(CLIENTS)
    threads = [
        threading.Thread(target=client.run, args=(gate, plans, region))
        for client in clients
    ]
    before = _deadlocks()

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [client.errors for client in clients if client.errors] == []
    assert sum(client.refused for client in clients) == 0
    assert _deadlocks() == before
    _assert_consistent(clients)

    for client in clients:
        for consumer in client.held:
            release(consumer, ACTOR)
    assert sellable_by_plan(region, plans) == advertised
    assert not CardClaim.objects.filter(released_at=None).exists()


def _assert_consistent(clients: list[Client]) -> None:
    """Nothing double, nothing lost, and each search key is what its claims leave."""
    held = {consumer for client in clients for consumer in client.held}
    claimed = CardClaim.objects.filter(released_at=None)
    assert set(claimed.values_list("consumer", flat=True)) == held
    nodes = NodeClaim.objects.filter(released_at=None)
    assert set(nodes.values_list("consumer", flat=True)) == held
    cards = list(claimed.values_list("card", flat=True))
    assert len(cards) == len(set(cards))
    consumers = NodeClaim.objects.values("consumer").distinct().count()
    assert consumers == sum(client.claims for client in clients)
    hosts = list(Host.objects.order_by("pk"))
    for host, snapshot in zip(hosts, snapshots_of(hosts), strict=True):
        assert host.free_shape == shape_of(snapshot)
    assert audit().difference is None


def _deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        return int(cursor.fetchone()[0])
