"""Claim and release: what they write, and that they write it all or not at all."""

import uuid

import pytest
from django.db import transaction

from inventory import ledger
from inventory.choices import CardCondition, CardEventKind
from inventory.exceptions import NotClaimable, StaleState, TransitionForbidden
from inventory.ledger import Actor
from inventory.models import Card, CardClaim, CardEvent, Host, NodeClaim
from inventory.shape import shape_of
from inventory.snapshots import free_cards, snapshots_of
from inventory.topology import NodeShare
from tests.builders import make_host

pytestmark = pytest.mark.django_db
ACTOR = Actor("user:tester", "a test")


def take(
    host: Host, consumer: uuid.UUID, cards: list[Card], cpus: tuple[int, ...]
) -> None:
    share = NodeShare(0, tuple(card.pk for card in cards), cpus, len(cpus), 256)
    with transaction.atomic():
        ledger.claim(ledger.lock_host(host.pk), [share], consumer, ACTOR)


def state() -> tuple[object, ...]:
    return (
        list(CardClaim.objects.order_by("pk").values()),
        list(NodeClaim.objects.order_by("pk").values()),
        list(CardEvent.objects.order_by("pk").values()),
        list(Host.objects.order_by("pk").values("free_shape")),
    )


def test_claim_takes_cards_cpus_and_memory_and_tells_the_ledger() -> None:
    host = make_host()
    card = host.cards.all()[0]
    consumer = uuid.uuid4()

    take(host, consumer, [card], (0,))

    (claim,) = ledger.open_card_claims(consumer)
    (node_claim,) = ledger.open_node_claims(consumer)
    event = CardEvent.objects.filter(card=card).first()
    assert event is not None
    assert (event.kind, event.actor, event.reason) == (
        CardEventKind.CLAIMED,
        "user:tester",
        "a test",
    )
    assert (event.consumer, event.claim_id) == (consumer, claim.pk)
    assert (node_claim.cpus, node_claim.vcpus, node_claim.memory_mib) == ([0], 1, 256)
    assert set(free_cards()) == set(Card.objects.exclude(pk=card.pk))


def test_claim_that_the_database_refuses_changes_nothing() -> None:
    host = make_host()
    free, taken = host.cards.all()[:2]
    take(host, uuid.uuid4(), [taken], (0,))
    before = state()

    with pytest.raises(NotClaimable):
        take(host, uuid.uuid4(), [free, taken], (1,))

    assert state() == before


def test_search_key_follows_the_claims() -> None:
    host = make_host()
    consumer = uuid.uuid4()

    take(host, consumer, [host.cards.all()[0]], (0,))
    host.refresh_from_db()
    assert host.free_shape == "rtx6000=1 c1x1 m896|rtx6000=2 c2x1 m1152"

    ledger.release(consumer, ACTOR)
    host.refresh_from_db()
    assert host.free_shape == "rtx6000=1 c2x1 m1152|rtx6000=2 c2x1 m1152"
    assert host.free_shape == shape_of(snapshots_of([host])[0])


def test_release_ends_the_claim_and_leaves_the_card_dirty() -> None:
    host = make_host()
    card = host.cards.all()[0]
    consumer = uuid.uuid4()
    take(host, consumer, [card], (0,))

    released = ledger.release(consumer, ACTOR)

    card.refresh_from_db()
    assert released == [host.pk]
    assert card.condition == CardCondition.DIRTY
    assert not ledger.open_card_claims(consumer)
    assert not ledger.open_node_claims(consumer)
    assert [e.kind for e in card.events.order_by("pk")][-3:] == [
        CardEventKind.CLAIMED,
        CardEventKind.RELEASED,
        CardEventKind.CONDITION,
    ]


def test_release_of_one_consumer_leaves_the_others_claims() -> None:
    host = make_host()
    first, second = uuid.uuid4(), uuid.uuid4()
    cards = host.cards.all()
    take(host, first, [cards[0]], (0,))
    take(host, second, [cards[1]], (1,))

    ledger.release(first, ACTOR)

    assert [c.card_id for c in ledger.open_card_claims(second)] == [cards[1].pk]
    assert len(ledger.open_node_claims(second)) == 1


def test_release_twice_is_no_error_and_writes_nothing_more() -> None:
    host = make_host()
    consumer = uuid.uuid4()
    take(host, consumer, [host.cards.all()[0]], (0,))
    ledger.release(consumer, ACTOR)
    before = state()

    assert ledger.release(consumer, ACTOR) == []
    assert state() == before


def test_quarantined_card_stays_so_when_released() -> None:
    host = make_host()
    card = host.cards.all()[0]
    consumer = uuid.uuid4()
    take(host, consumer, [card], (0,))
    ledger.change_condition(
        Card.objects.get(pk=card.pk), CardCondition.QUARANTINED, ACTOR
    )

    ledger.release(consumer, ACTOR)

    card.refresh_from_db()
    assert card.condition == CardCondition.QUARANTINED


def test_condition_changes_only_along_the_life_cycle() -> None:
    card = make_host().cards.all()[0]

    with pytest.raises(TransitionForbidden):
        ledger.change_condition(card, CardCondition.TESTING, ACTOR)

    card.refresh_from_db()
    assert card.condition == CardCondition.READY


def test_condition_changed_by_another_is_noticed() -> None:
    card = make_host().cards.all()[0]
    stale = Card.objects.get(pk=card.pk)
    ledger.change_condition(card, CardCondition.QUARANTINED, ACTOR)

    with pytest.raises(StaleState):
        ledger.change_condition(stale, CardCondition.DIRTY, ACTOR)


def test_snapshots_take_four_queries_for_any_number_of_hosts(
    django_assert_num_queries: object,
) -> None:
    for _ in range(5):
        make_host()
    hosts = list(Host.objects.all())

    with django_assert_num_queries(4):  # type: ignore[operator]
        snapshots_of(hosts)
