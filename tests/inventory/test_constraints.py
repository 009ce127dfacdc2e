"""What the database itself refuses, whoever asks."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from inventory.choices import CardCondition, CardEventKind
from inventory.ledger import Actor, change_condition, record_place
from inventory.models import Card, CardClaim, CardEvent, Host, HostCpu, NodeClaim
from inventory.snapshots import snapshots_of
from tests.builders import make_host

pytestmark = pytest.mark.django_db


@contextmanager
def refused(constraint: str) -> Iterator[None]:
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        yield
    cause = caught.value.__cause__
    assert cause is not None
    assert cause.diag.constraint_name == constraint  # type: ignore[attr-defined]


def claim_card(card: Card) -> CardClaim:
    claim = CardClaim.objects.create(
        card=card, consumer=uuid.uuid4(), claimed_at=timezone.now()
    )
    tell(claim, CardEventKind.CLAIMED)
    return claim


def tell(claim: CardClaim, kind: CardEventKind) -> None:
    """Write the event without which no claim can be committed."""
    CardEvent.objects.create(
        card=claim.card,
        at=timezone.now(),
        kind=kind,
        from_condition=claim.card.condition,
        to_condition=claim.card.condition,
        actor="test:constraints",
        reason="a test",
        claim=claim,
        consumer=claim.consumer,
    )


def claim_node(
    host: Host,
    cpus: list[int],
    memory_mib: int,
    vcpus: int = 1,
    hugepage_kib: int = 0,
) -> NodeClaim:
    return NodeClaim.objects.create(
        numa_node=host.nodes.get(number=0),
        consumer=uuid.uuid4(),
        cpus=cpus,
        vcpus=vcpus,
        memory_mib=memory_mib,
        hugepage_kib=hugepage_kib,
        claimed_at=timezone.now(),
    )


def test_second_open_claim_on_a_card_is_refused() -> None:
    card = make_host().cards.all()[0]
    first = claim_card(card)

    with refused("card_one_open_claim"):
        claim_card(card)

    first.released_at = timezone.now()
    first.save()
    tell(first, CardEventKind.RELEASED)
    claim_card(card)
    assert CardClaim.objects.filter(card=card).count() == 2


@pytest.mark.parametrize(
    "condition", [c for c in CardCondition if c != CardCondition.READY]
)
def test_claim_on_a_card_that_is_not_ready_is_refused(condition: CardCondition) -> None:
    card = make_host(condition=condition).cards.all()[0]

    with refused("claimed_card_is_ready"):
        claim_card(card)


def test_cpu_in_two_open_claims_is_refused() -> None:
    host = make_host(cores_per_node=4)
    claim_node(host, [0, 1], 100)

    with refused("cpu_one_open_claim"):
        claim_node(host, [1, 2], 100)

    claim_node(host, [2, 3], 100)
    assert NodeClaim.objects.count() == 2


def test_memory_beyond_the_node_is_refused() -> None:
    host = make_host(memory_mib=1000, reserved_memory_mib=500)
    claim_node(host, [0], 600)

    with refused("node_memory_within_capacity"):
        claim_node(host, [1], 401)

    claim_node(host, [1], 400)


def test_hugepages_and_ordinary_memory_have_limits_of_their_own() -> None:
    host = make_host(memory_mib=600, reserved_memory_mib=400)
    host.nodes.update(hugepages={"2048": 200, "1048576": 0})
    claim_node(host, [0], 400, hugepage_kib=2048)

    with refused("node_memory_within_capacity"):
        claim_node(host, [1], 2, hugepage_kib=2048)
    with refused("node_memory_within_capacity"):
        claim_node(host, [1], 1024, hugepage_kib=1048576)
    with refused("node_memory_within_capacity"):
        claim_node(host, [1], 601)

    claim_node(host, [1], 600)
    free = snapshots_of([host])[0].nodes[0]
    assert (free.memory_mib, free.pages, free.guests) == (0, (), 2)


@pytest.mark.parametrize("cpus", [[2], [0, 99], [0, 0]])
def test_cpu_that_is_not_of_the_node_is_refused(cpus: list[int]) -> None:
    host = make_host(cores_per_node=2)

    with refused("claimed_cpus_usable"):
        claim_node(host, cpus, 100)


def test_cpu_that_is_kept_for_the_host_is_refused() -> None:
    host = make_host()
    HostCpu.objects.filter(numa_node__host=host, number=0).update(is_reserved=True)

    with refused("claimed_cpus_usable"):
        claim_node(host, [0], 100)


def test_more_vcpus_than_cpus_are_refused() -> None:
    with refused("node_claim_cpu_for_each_vcpu"):
        claim_node(make_host(), [0], 100, vcpus=2)


@pytest.mark.parametrize(
    "change",
    [
        lambda: CardEvent.objects.update(reason="nothing happened"),
        lambda: CardEvent.objects.all().delete(),
    ],
)
def test_ledger_cannot_be_changed(change: Callable[[], object]) -> None:
    make_host()
    before = list(CardEvent.objects.order_by("pk").values())

    with refused("ledger_append_only"):
        change()

    assert list(CardEvent.objects.order_by("pk").values()) == before


def test_ledger_cannot_be_changed_by_plain_sql() -> None:
    make_host()

    with refused("ledger_append_only"), connection.cursor() as cursor:
        cursor.execute("DELETE FROM inventory_cardevent")


def test_claim_can_only_be_released_once() -> None:
    claim = claim_card(make_host().cards.all()[0])
    other = uuid.uuid4()

    with refused("claim_only_ends"):
        CardClaim.objects.update(consumer=other)
    with refused("claim_only_ends"):
        CardClaim.objects.filter(pk=claim.pk)._raw_delete(using="default")
    CardClaim.objects.update(released_at=timezone.now())
    tell(claim, CardEventKind.RELEASED)
    with refused("claim_only_ends"):
        CardClaim.objects.update(released_at=None)
    claim.refresh_from_db()
    assert claim.released_at is not None


def test_two_cards_in_one_slot_are_refused_unless_one_is_missing() -> None:
    host = make_host()
    first, second = host.cards.all()[:2]

    with refused("card_one_per_slot"):
        Card.objects.filter(pk=second.pk).update(slot_path=first.slot_path)

    actor = Actor("test:slot", "a test")
    change_condition(first, CardCondition.MISSING, actor)
    Card.objects.filter(pk=second.pk).update(slot_path=first.slot_path)
    second.refresh_from_db()
    record_place(second, CardEventKind.MOVED, actor)


def test_card_moves_only_with_its_event_and_while_nobody_holds_it() -> None:
    first, second = make_host().cards.all()[:2]
    claim_card(first)

    with refused("claimed_card_stays"):
        Card.objects.filter(pk=first.pk).update(slot_path="0000:71:00")
    with refused("card_place_as_in_ledger"):
        Card.objects.filter(pk=second.pk).update(slot_path="0000:71:00")
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
