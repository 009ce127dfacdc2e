"""The ledger: what is written, all or not at all, and what the database refuses."""

import re
import uuid

import pytest
from django.db import connection, transaction

from inventory import ledger
from inventory.choices import (
    CARD_TRANSITIONS,
    CardCondition,
    CardEventKind,
    CheckKind,
    CheckOutcome,
)
from inventory.exceptions import NotClaimable, StaleState, TransitionForbidden
from inventory.free_host import free_host
from inventory.ledger import Actor
from inventory.models import Card, CardClaim, CardEvent, Host, NodeClaim
from inventory.shape import shape_of
from inventory.snapshots import is_free_of_many, snapshots_of
from inventory.topology import NodeShare
from tests.builders import make_card, make_check, make_host
from tests.inventory.test_constraints import refused

pytestmark = pytest.mark.django_db
ACTOR = Actor("user:tester", "a test")


def take(
    host: Host, consumer: uuid.UUID, cards: list[Card], cpus: tuple[int, ...]
) -> None:
    share = NodeShare(0, tuple(card.pk for card in cards), cpus, len(cpus), 256)
    with transaction.atomic():
        ledger.claim(free_host(ledger.lock_host(host.pk).pk), [share], consumer, ACTOR)


def state() -> tuple[object, ...]:
    return (
        list(Card.objects.order_by("pk").values()),
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
    assert set(Card.objects.filter(is_free_of_many())) == set(
        Card.objects.exclude(pk=card.pk)
    )


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
    assert host.free_shape == "rtx6000=1 c1x1 m896 g1|rtx6000=2 c2x1 m1152"

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


def test_release_names_the_claim_in_what_follows_from_it() -> None:
    host = make_host()
    card = host.cards.all()[0]
    consumer = uuid.uuid4()
    take(host, consumer, [card], (0,))
    claim = card.claims.get()

    ledger.release(consumer, ACTOR)

    told = card.events.order_by("-pk").values_list(
        "kind", "from_condition", "to_condition", "claim_id", "consumer"
    )
    assert list(told[:2]) == [
        ("condition", "ready", "dirty", claim.pk, consumer),
        ("released", "ready", "ready", claim.pk, consumer),
    ]


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


def test_clock_is_the_databases_and_runs_within_a_transaction() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT now(), clock_timestamp()")
        began, before = cursor.fetchone()

    first, second = ledger.clock(), ledger.clock()

    assert began < before < first < second


def test_place_is_told_with_host_slot_and_condition() -> None:
    host = make_host(cards_per_node=(1,))
    card = host.cards.get()
    card.slot_path = "0000:99:00"
    card.save()

    ledger.record_place(card, CardEventKind.MOVED, ACTOR)

    told = [
        (e.kind, e.from_condition, e.to_condition, e.host_id, e.slot_path)
        for e in card.events.exclude(kind=CardEventKind.CONDITION).order_by("pk")
    ]
    assert told == [
        ("enrolled", "", "unverified", host.pk, "0000:21:00"),
        ("moved", "ready", "ready", host.pk, "0000:99:00"),
    ]


@pytest.mark.parametrize(
    "steps",
    [
        (),
        (CardCondition.TESTING, CardCondition.READY),
        (CardCondition.QUARANTINED, CardCondition.RETIRED),
    ],
)
def test_builders_tell_the_ledger_what_it_is_told(
    steps: tuple[CardCondition, ...],
) -> None:
    host = make_host(
        cards_per_node=(1,), condition=(CardCondition.UNVERIFIED, *steps)[-1]
    )
    made = host.cards.get()
    card = Card.objects.create(
        host=host,
        numa_node=made.numa_node,
        gpu_model=made.gpu_model,
        identity="by hand",
        identity_is_weak=True,
        slot_path="0000:22:00",
    )
    actor = Actor("test:builder", "made for a test")
    ledger.record_place(card, CardEventKind.ENROLLED, actor)
    for step in steps:
        if step is CardCondition.READY:
            make_check(card)
        ledger.change_condition(card, step, actor)

    def told(card: Card) -> list[dict[str, object]]:
        own = {"id", "card_id", "at"}
        rows = card.events.order_by("pk").values()
        return [{k: v for k, v in row.items() if k not in own} for row in rows]

    places = {"0000:21:00": "0000:22:00", "": ""}
    assert told(card) == [
        {**row, "slot_path": places[str(row["slot_path"])]} for row in told(made)
    ]
    if steps:
        assert made.condition_changed_at == made.events.latest("pk").at
    assert made.condition == card.condition


@pytest.mark.parametrize("table", ["cardevent", "cardcheck", "cardclaim"])
def test_history_cannot_be_truncated(table: str) -> None:
    host = make_host()
    take(host, uuid.uuid4(), [host.cards.all()[0]], (0,))
    before = state()

    with connection.cursor() as cursor:
        # No row of the test may wait for its constraints.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        with refused("ledger_append_only"):
            cursor.execute(f"TRUNCATE inventory_{table} CASCADE")

    assert state() == before


def commit() -> None:
    """Check what the database checks at commit."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_condition_without_its_event_cannot_be_committed() -> None:
    card = make_host().cards.all()[0]

    with refused("card_as_in_ledger"):
        Card.objects.filter(pk=card.pk).update(condition=CardCondition.DIRTY)
        commit()

    card.refresh_from_db()
    assert card.condition == CardCondition.READY


def test_new_card_without_its_event_cannot_be_committed() -> None:
    card = make_host().cards.all()[0]
    card.pk, card.identity, card.slot_path = None, "another", "0000:99:00"
    card.condition = CardCondition.UNVERIFIED

    with refused("card_as_in_ledger"):
        card.save(force_insert=True)
        commit()


def test_new_card_can_only_be_unverified() -> None:
    card = make_host().cards.all()[0]
    card.pk, card.identity, card.slot_path = None, "another", "0000:99:00"

    with refused("card_life_cycle"):
        card.save(force_insert=True)


def test_claim_without_its_event_cannot_be_committed() -> None:
    card = make_host().cards.all()[0]

    with refused("claim_as_in_ledger"):
        CardClaim.objects.create(
            card=card, consumer=uuid.uuid4(), claimed_at=ledger.clock()
        )
        commit()

    assert not CardClaim.objects.exists()


def test_release_without_its_event_cannot_be_committed() -> None:
    host = make_host()
    consumer = uuid.uuid4()
    take(host, consumer, [host.cards.all()[0]], (0,))

    with refused("claim_as_in_ledger"):
        CardClaim.objects.update(released_at=ledger.clock())
        commit()

    assert len(ledger.open_card_claims(consumer)) == 1


def test_database_permits_the_steps_of_the_life_cycle() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT prosrc FROM pg_proc WHERE proname = 'inventory_card_step'"
        )
        ((source,),) = cursor.fetchall()

    steps = set(re.findall(r"\('(\w+)', '(\w+)'\)", source))

    assert steps == {
        (str(before), str(after))
        for before, afters in CARD_TRANSITIONS.items()
        for after in afters
    }


@pytest.mark.parametrize("before", CardCondition)
def test_database_refuses_every_other_step(before: CardCondition) -> None:
    host = make_host(cards_per_node=(0,))
    card = make_card(host.nodes.get(), "0000:21:00", condition=before)

    for after in set(CardCondition) - CARD_TRANSITIONS[before] - {before}:
        with refused("card_life_cycle"):
            Card.objects.filter(pk=card.pk).update(condition=after)

    card.refresh_from_db()
    assert card.condition == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (CardCondition.DIRTY, CardCondition.TESTING),
        (CardCondition.DIRTY, CardCondition.READY),
        (CardCondition.UNVERIFIED, CardCondition.READY),
    ],
)
def test_card_with_every_proof_still_goes_through_its_checks(
    before: CardCondition, after: CardCondition
) -> None:
    card = make_host(cards_per_node=(1,), condition=before).cards.get()
    make_check(card, CheckKind.SANITISE)
    make_check(card, CheckKind.TEST)

    with refused("card_life_cycle"):
        Card.objects.filter(pk=card.pk).update(condition=after)


def become_ready(card: Card) -> None:
    ledger.change_condition(Card.objects.get(pk=card.pk), CardCondition.READY, ACTOR)


def test_card_is_ready_only_after_a_test_of_this_time() -> None:
    card = make_host(
        cards_per_node=(1,), condition=CardCondition.UNVERIFIED
    ).cards.get()
    make_check(card, CheckKind.TEST)
    ledger.change_condition(card, CardCondition.TESTING, ACTOR)
    before = state()

    with refused("ready_card_is_proven"):
        become_ready(card)
    make_check(card, CheckKind.SANITISE)
    make_check(card, CheckKind.TEST, CheckOutcome.FAILED)
    with refused("ready_card_is_proven"):
        become_ready(card)

    assert state() == before
    make_check(card, CheckKind.TEST)
    become_ready(card)
    card.refresh_from_db()
    assert card.condition == CardCondition.READY


def test_another_cards_test_proves_nothing() -> None:
    tested, card = make_host(
        cards_per_node=(2,), condition=CardCondition.TESTING
    ).cards.all()
    make_check(tested, CheckKind.TEST)

    with refused("ready_card_is_proven"):
        become_ready(card)


def test_used_card_is_ready_only_after_a_scrub() -> None:
    host = make_host(cards_per_node=(1,))
    card = host.cards.get()
    consumer = uuid.uuid4()
    make_check(card, CheckKind.SANITISE)
    take(host, consumer, [card], (0,))
    make_check(card, CheckKind.SANITISE)
    ledger.release(consumer, ACTOR)
    card.refresh_from_db()
    ledger.change_condition(card, CardCondition.SANITISING, ACTOR)
    ledger.change_condition(card, CardCondition.TESTING, ACTOR)
    make_check(card, CheckKind.TEST)
    make_check(card, CheckKind.SANITISE, CheckOutcome.FAILED)
    before = state()

    with refused("ready_card_is_proven"):
        become_ready(card)

    assert state() == before
    make_check(card, CheckKind.SANITISE)
    become_ready(card)
    card.refresh_from_db()
    assert card.condition == CardCondition.READY


@pytest.mark.parametrize("after", [CardCondition.RETIRED, CardCondition.SANITISING])
def test_held_card_is_neither_checked_nor_retired(after: CardCondition) -> None:
    host = make_host()
    card = host.cards.all()[0]
    take(host, uuid.uuid4(), [card], (0,))
    ledger.change_condition(card, CardCondition.QUARANTINED, ACTOR)

    with refused("card_in_use"):
        Card.objects.filter(pk=card.pk).update(condition=after)


def test_snapshots_take_four_queries_for_any_number_of_hosts(
    django_assert_num_queries: object,
) -> None:
    for _ in range(5):
        make_host()
    hosts = list(Host.objects.all())

    with django_assert_num_queries(4):  # type: ignore[operator]
        snapshots_of(hosts)
