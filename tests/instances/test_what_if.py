"""What if: the answer is what really doing it gives, and nothing is written."""

import json
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from instances.capacity import sellable_by_plan
from instances.claiming import claim_capacity
from instances.models import Plan
from instances.placement import NoFit, NumaPolicy, Request, place
from instances.selectors import request_of
from instances.stranded import stranded_cards
from instances.what_if import InvalidWhatIf, WhatIf, plan_of, what_if
from inventory.card_actions import quarantine
from inventory.choices import HostPolicy
from inventory.host_policy import set_policy
from inventory.ledger import Actor
from inventory.models import Card
from inventory.snapshots import accepting_hosts, snapshots_of
from tests.builders import make_gpu_model, make_host, make_plan, make_region
from tests.instances.test_explain import undone

pytestmark = pytest.mark.django_db

ACTOR = Actor("test:what-if", "a test")
BOARD = {"cards_per_node": (2, 2), "cores_per_node": 4}


def plans() -> list[Plan]:
    return list(Plan.objects.select_related("gpu_model"))


def make_plans() -> None:
    for cards in (1, 2, 3, 4):
        make_plan(f"gpu-{cards}", cards=cards)
    make_plan("gpu-2-near", cards=2, numa_policy=NumaPolicy.REQUIRED)
    make_plan("plain", cards=0, vcpus=2)


def sell(sizes: list[int]) -> None:
    """Every second one is but held."""
    for number, cards in enumerate(sizes):
        asked, held = Request(cards, 256, cards, "rtx6000"), bool(number % 2)
        with transaction.atomic():
            claim_capacity(asked, make_region(), uuid4(), ACTOR, is_hold=held)


@settings(max_examples=max(25, settings.default.max_examples))
@given(
    sold=st.lists(st.integers(1, 3), max_size=5),
    added=st.integers(0, 2),
    drained=st.sets(st.integers(0, 2)),
    spoilt=st.sets(st.integers(0, 11), max_size=3),
)
def test_what_if_equals_really_doing_it(
    sold: list[int], added: int, drained: set[int], spoilt: set[int]
) -> None:
    with undone():
        region = make_region()
        make_plans()
        hosts = [make_host(**BOARD) for _ in range(3)]
        sell(sold)
        cards = [Card.objects.order_by("pk")[i].pk for i in sorted(spoilt)]
        before = sellable_by_plan(region, plans())

        rows = what_if(
            region,
            plans(),
            WhatIf(
                add_hosts=added,
                like=hosts[0].name if added else "",
                drain=tuple(hosts[i].name for i in drained),
                quarantine=tuple(cards),
            ),
        )

        assert {row.plan: row.before for row in rows} == before
        for index in drained:
            set_policy(hosts[index].pk, HostPolicy.DRAINING, ACTOR)
        for card in cards:
            quarantine(card, ACTOR)
        for _ in range(added):
            make_host(**BOARD)
        assert {row.plan: row.after for row in rows} == sellable_by_plan(
            region, plans()
        )


def test_new_plan_is_counted_before_it_is_sold() -> None:
    make_host(**BOARD)
    make_gpu_model()
    asked = plan_of("cards=2 gpu_model=rtx6000 vcpus=2 memory_mib=512")

    rows = what_if(make_region(), [], WhatIf(plan=asked))

    assert [(row.plan, row.before, row.after) for row in rows] == [
        ("new plan", None, 2)
    ]
    made = make_plan("gpu-2", cards=2, vcpus=2, memory_mib=512)
    assert sellable_by_plan(make_region(), [made]) == {"gpu-2": 2}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("card=2", "'card' is none of"),
        ("cards=x", "write a whole number"),
        ("cards=1 vcpus=1 memory_mib=1", "plan_cards_have_a_model"),
        ("vcpus=1 memory_mib=1 numa_policy=near", "numa_policy is one of"),
        ("vcpus=4 memory_mib=1 numa_policy=spread", "Spread needs 2 to 8 NUMA nodes"),
        ("vcpus=1 memory_mib=3 hugepage_kib=2048", "no whole number of hugepages"),
    ],
)
def test_impossible_plan_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidWhatIf, match=reason) as caught:
        plan_of(text)

    assert caught.value.field == "plan"


@pytest.mark.django_db(transaction=True)
def test_command_prints_both_sides_and_writes_nothing() -> None:
    host = make_host("gpu-a", **BOARD)
    make_plans()
    out = StringIO()

    call_command("what_if", "us-east", "--drain", "gpu-a", "--json", stdout=out)

    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {row["plan"]: (row["before"], row["after"]) for row in rows} == {
        "gpu-1": (4, 0),
        "gpu-2": (2, 0),
        "gpu-2-near": (2, 0),
        "gpu-3": (1, 0),
        "gpu-4": (1, 0),
        "plain": (4, 0),
    }
    host.refresh_from_db()
    assert host.policy == HostPolicy.IN_SERVICE
    with pytest.raises(CommandError, match="--drain: 'gpu-z' is no host of us-east"):
        call_command("what_if", "us-east", "--drain", "gpu-z")
    with pytest.raises(CommandError, match="REGION: 'mars' is no region"):
        call_command("what_if", "mars")
    with pytest.raises(CommandError, match="--like: Name a host"):
        call_command("what_if", "us-east", "--add-hosts", "1")


def test_card_without_cores_beside_it_is_stranded_with_its_reason() -> None:
    make_host("gpu-a", cards_per_node=(1, 1), cores_per_node=8)
    make_plan("gpu-1", vcpus=8, memory_mib=64)
    make_plan("plain", cards=0, vcpus=6, memory_mib=64)
    region = make_region()
    with transaction.atomic():
        claim_capacity(request_of(plans()[1]), region, uuid4(), ACTOR)

    report = stranded_cards(region, plans())

    assert [str(each) for each in report.named] == [
        "node 0 of gpu-a: 1 card free, 2 of 8 cores left"
    ]
    assert report.total == 1


def test_cards_on_closed_hosts_are_told_apart() -> None:
    make_host(cards_per_node=(2,), policy=HostPolicy.DRAINING)
    make_host(cards_per_node=(3,), cores_per_node=4)
    make_plan("gpu-2", cards=2)

    report = stranded_cards(make_region(), plans())

    assert report.closed == {"draining": 2}
    assert [str(each).partition(": ")[2] for each in report.named] == [
        "3 cards free (1 of them of no use), the smallest plan takes 2 together"
    ]


@settings(max_examples=max(25, settings.default.max_examples))
@given(
    boards=st.lists(st.sampled_from(((3, 1), (4,), (1, 2))), min_size=1, max_size=3),
    cores=st.integers(1, 4),
    sizes=st.sets(st.integers(1, 4)),
)
def test_stranded_is_what_every_plan_leaves(
    boards: list[tuple[int, ...]], cores: int, sizes: set[int]
) -> None:
    with undone():
        for board in boards:
            make_host(cards_per_node=board, cores_per_node=cores)
        for size in sizes:
            make_plan(cards=size, vcpus=size)
        sold = plans()

        report = stranded_cards(make_region(), sold)

        left = 0
        for snapshot in snapshots_of(accepting_hosts()):
            most = {node.number: 0 for node in snapshot.nodes}
            for plan in sold:
                host, taken = snapshot, dict.fromkeys(most, 0)
                while not isinstance(placed := place(request_of(plan), [host]), NoFit):
                    host = host.less(placed.shares)
                    for share in placed.shares:
                        taken[share.node] += len(share.card_ids)
                most = {n: max(most[n], taken[n]) for n in most}
            left += sum(len(n.cards) - most[n.number] for n in snapshot.nodes)
        assert report.total == left == sum(each.stranded for each in report.named)


def test_counting_asks_the_database_once_whatever_the_fleet(
    django_assert_num_queries: object,
) -> None:
    make_plans()
    for _ in range(5):
        make_host(**BOARD)
    region, sold = make_region(), plans()

    with django_assert_num_queries(1):  # type: ignore[operator]
        counts = sellable_by_plan(region, sold)

    assert counts["gpu-1"] == 20
