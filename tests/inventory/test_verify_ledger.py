"""verify_ledger: it agrees with what the ledger wrote, and names the first lie."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import InternalError, connection, connections, transaction

from inventory import ledger, ledger_audit
from inventory.choices import CardCondition, CardEventKind
from inventory.free_host import free_host
from inventory.ledger import Actor
from inventory.ledger_audit import Audit, Difference, audit
from inventory.models import Card, CardClaim, CardEvent, Host
from inventory.topology import NodeShare
from tests.builders import make_check, make_host

pytestmark = pytest.mark.django_db
ACTOR = Actor("user:tester", "a test")


def used_host() -> Host:
    """Make a host: its first card was used and released, its second is in use."""
    host = make_host(cards_per_node=(3,))
    first, second, _ = host.cards.order_by("pk")
    past = uuid.uuid4()
    for consumer, card, cpu in ((past, first, 0), (uuid.uuid4(), second, 1)):
        share = NodeShare(0, (card.pk,), (cpu,), 1, 256)
        with transaction.atomic():
            ledger.claim(
                free_host(ledger.lock_host(host.pk).pk), [share], consumer, ACTOR
            )
    with transaction.atomic():
        ledger.release(past, ACTOR)
    return host


@contextmanager
def no_guards() -> Iterator[None]:
    """Switch the guards of cards, claims and events off, as their owner could."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgrelid IN "
            "('inventory_card'::regclass, 'inventory_cardclaim'::regclass,"
            " 'inventory_cardevent'::regclass) AND NOT tgisinternal AND tgenabled = 'O'"
        )
        triggers = cursor.fetchall()
        for table, trigger in triggers:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
        yield
        for table, trigger in triggers:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER {trigger}")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def cards() -> list[Card]:
    used_host()
    return list(Card.objects.order_by("pk"))


def last_event(card: Card, kind: CardEventKind) -> CardEvent:
    event = card.events.filter(kind=kind).first()
    assert event is not None
    return event


def test_ledger_of_used_cards_agrees() -> None:
    used_host()

    assert audit() == Audit(cards=3, events=13, claims=2)


def test_queries_grow_with_chunks_and_not_with_cards(
    django_assert_num_queries: Any,
) -> None:
    used_host()
    make_host(cards_per_node=(2, 2))

    with django_assert_num_queries(4):
        assert audit(chunk_cards=100).cards == 7
    with django_assert_num_queries(3 * 3 + 1):
        assert audit(chunk_cards=3).cards == 7


def test_moved_card_agrees_and_its_old_slot_does_not() -> None:
    card = cards()[2]
    Card.objects.filter(pk=card.pk).update(slot_path="0000:99:00")
    enrolled = last_event(card, CardEventKind.ENROLLED)

    assert audit().difference == Difference(
        card.pk,
        enrolled.pk,
        "slot",
        f"the ledger says {card.slot_path}",
        "the row says 0000:99:00",
    )

    card.refresh_from_db()
    ledger.record_place(card, CardEventKind.MOVED, ACTOR)
    assert audit().difference is None


def test_card_on_another_host_than_told_is_found() -> None:
    card = cards()[2]
    told = card.host_id
    other = make_host(cards_per_node=(0,))
    with no_guards():
        Card.objects.filter(pk=card.pk).update(host=other)

    assert audit().difference == Difference(
        card.pk,
        last_event(card, CardEventKind.ENROLLED).pk,
        "host",
        f"the ledger says {told}",
        f"the row says {other.pk}",
    )


def test_enrolment_of_old_is_no_difference() -> None:
    card = cards()[2]
    with no_guards():
        card.events.filter(kind=CardEventKind.ENROLLED).update(host=None, slot_path="")
        Card.objects.filter(pk=card.pk).update(
            slot_path="0000:99:00",
            condition_changed_at=card.condition_changed_at - timedelta(seconds=1),
        )

    assert audit().difference is None


def test_condition_changed_behind_the_ledger_is_found() -> None:
    card = cards()[0]
    with no_guards():
        Card.objects.filter(pk=card.pk).update(condition=CardCondition.READY)

    assert audit().difference == Difference(
        card.pk,
        last_event(card, CardEventKind.CONDITION).pk,
        "condition",
        "the ledger says dirty",
        "the row says ready",
    )


def test_time_of_the_condition_must_be_the_events() -> None:
    card = cards()[0]
    told = last_event(card, CardEventKind.CONDITION)
    later = told.at + timedelta(microseconds=1)
    Card.objects.filter(pk=card.pk).update(condition_changed_at=later)

    assert audit().difference == Difference(
        card.pk,
        told.pk,
        "condition_changed_at",
        f"the ledger says {told.at.isoformat()}",
        f"the row says {later.isoformat()}",
    )


def test_open_claim_that_was_ended_in_silence_is_found() -> None:
    card = cards()[1]
    claim = card.claims.get()
    with no_guards():
        CardClaim.objects.filter(pk=claim.pk).update(released_at=ledger.clock())

    assert audit().difference == Difference(
        card.pk,
        last_event(card, CardEventKind.CLAIMED).pk,
        "open claim",
        f"the ledger says {claim.pk} of {claim.consumer}",
        "the row says none",
    )


def test_open_claim_for_another_consumer_is_found() -> None:
    card = cards()[1]
    claim = card.claims.get()
    other = uuid.uuid4()
    with no_guards():
        CardClaim.objects.filter(pk=claim.pk).update(consumer=other)

    assert audit().difference == Difference(
        card.pk,
        last_event(card, CardEventKind.CLAIMED).pk,
        "open claim",
        f"the ledger says {claim.pk} of {claim.consumer}",
        f"the row says {claim.pk} of {other}",
    )


def test_open_claim_that_the_ledger_does_not_know_is_found() -> None:
    card = cards()[2]
    with no_guards():
        claim = CardClaim.objects.create(
            card=card, consumer=uuid.uuid4(), claimed_at=ledger.clock()
        )

    assert audit().difference == Difference(
        card.pk,
        None,
        "open claim",
        "the ledger says none",
        f"the row says {claim.pk} of {claim.consumer}",
    )


def test_ended_claim_that_the_ledger_does_not_know_is_found() -> None:
    card = cards()[2]
    now = ledger.clock()
    with no_guards():
        claim = CardClaim.objects.create(
            card=card, consumer=uuid.uuid4(), claimed_at=now, released_at=now
        )

    assert audit().difference == Difference(
        card.pk,
        None,
        f"claim {claim.pk}",
        "the ledger says none",
        f"the row says of {claim.consumer}",
    )


def test_claim_that_was_put_on_another_card_is_found() -> None:
    first, _, third = cards()
    claim = first.claims.get()
    with no_guards():
        CardClaim.objects.filter(pk=claim.pk).update(card=third)

    assert audit().difference == Difference(
        first.pk,
        last_event(first, CardEventKind.CLAIMED).pk,
        f"claim {claim.pk}",
        f"the ledger says of {claim.consumer}",
        "the row says none",
    )


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("claimed_at", CardEventKind.CLAIMED),
        ("released_at", CardEventKind.RELEASED),
    ],
)
def test_time_of_a_claim_must_be_the_events(field: str, kind: CardEventKind) -> None:
    card = cards()[0]
    claim = card.claims.get()
    told = getattr(claim, field)
    moved = told + timedelta(seconds=-60 if field == "claimed_at" else 60)
    with no_guards():
        CardClaim.objects.filter(pk=claim.pk).update(**{field: moved})

    assert audit().difference == Difference(
        card.pk,
        last_event(card, kind).pk,
        f"claim {claim.pk} {field}",
        f"the ledger says {told.isoformat()}",
        f"the row says {moved.isoformat()}",
    )


def test_consumer_of_an_ended_claim_must_be_the_events() -> None:
    card = cards()[0]
    claim = card.claims.get()
    other = uuid.uuid4()
    with no_guards():
        CardClaim.objects.filter(pk=claim.pk).update(consumer=other)

    assert audit().difference == Difference(
        card.pk,
        last_event(card, CardEventKind.CLAIMED).pk,
        f"claim {claim.pk} consumer",
        f"the ledger says {claim.consumer}",
        f"the row says {other}",
    )


def test_event_that_was_deleted_is_found() -> None:
    card = cards()[0]
    released = last_event(card, CardEventKind.RELEASED)
    with no_guards():
        CardEvent.objects.filter(pk=released.pk).delete()

    claim = card.claims.get()
    assert audit().difference == Difference(
        card.pk,
        last_event(card, CardEventKind.CLAIMED).pk,
        "open claim",
        f"the ledger says {claim.pk} of {claim.consumer}",
        "the row says none",
    )


def test_event_that_was_changed_is_found() -> None:
    card = cards()[0]
    dirty = last_event(card, CardEventKind.CONDITION)
    with no_guards():
        CardEvent.objects.filter(pk=dirty.pk).update(from_condition="testing")

    assert audit().difference == Difference(
        card.pk,
        dirty.pk,
        "from_condition",
        "the events before it ask for ready",
        "it says testing",
    )


def test_card_without_any_event_is_found_between_others() -> None:
    card = cards()[1]
    with no_guards():
        card.events.all().delete()

    done = audit()

    assert (done.cards, done.difference) == (
        2,
        Difference(
            card.pk,
            None,
            "first event",
            "the events before it ask for enrolled",
            "it says none",
        ),
    )


@pytest.mark.django_db(transaction=True)
def test_command_prints_counts_and_time() -> None:
    used_host()
    out = StringIO()

    call_command("verify_ledger", stdout=out)

    told, _, took = out.getvalue().partition(" (")
    assert told == "The ledger agrees: 3 cards, 13 events, 2 claims"
    assert took.endswith(" s)\n")


@pytest.mark.django_db(transaction=True)
def test_command_fails_with_the_first_difference() -> None:
    card = cards()[0]
    told = last_event(card, CardEventKind.CONDITION)
    with no_guards():
        Card.objects.filter(pk=card.pk).update(condition=CardCondition.READY)

    with pytest.raises(CommandError) as caught:
        call_command("verify_ledger")

    assert caught.value.returncode == 1
    assert str(caught.value).startswith(
        f"The ledger differs: card {card.pk}, event {told.pk}, condition: "
        "the ledger says dirty; the row says ready (1 cards looked at, "
    )


@pytest.mark.django_db(transaction=True)
def test_command_refuses_a_chunk_of_nothing() -> None:
    with pytest.raises(CommandError, match=r"^--chunk: must be 1 or more\.$"):
        call_command("verify_ledger", chunk=0)


@pytest.mark.django_db(transaction=True)
def test_work_that_goes_on_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two queries of a chunk another connection commits."""
    host = used_host()
    free = host.cards.order_by("pk")[2]
    read_claims = ledger_audit._claims_of
    busy = connections.create_connection("default")

    def work_then_read(rows: Any) -> Any:
        with busy.cursor() as cursor:
            cursor.execute(
                """
                WITH card AS (
                    UPDATE inventory_card SET condition = 'quarantined',
                        condition_changed_at = clock_timestamp()
                    WHERE id = %s RETURNING id, condition_changed_at, condition
                )
                INSERT INTO inventory_cardevent (card_id, at, kind, from_condition,
                    to_condition, actor, reason, slot_path)
                SELECT id, condition_changed_at, 'condition', 'ready', condition,
                    'user:other', 'meanwhile', '' FROM card
                """,
                [free.pk],
            )
        return read_claims(rows)

    monkeypatch.setattr(ledger_audit, "_claims_of", work_then_read)
    out = StringIO()
    try:
        call_command("verify_ledger", stdout=out)
    finally:
        busy.close()

    free.refresh_from_db()
    assert free.condition == CardCondition.QUARANTINED
    assert out.getvalue().startswith("The ledger agrees: 3 cards, 13 events, 2 claims")


@pytest.mark.django_db(transaction=True)
def test_audit_in_one_moment_cannot_write() -> None:
    host = make_host(cards_per_node=(1,))

    def write() -> None:
        with transaction.atomic():
            ledger_audit.read_one_moment()
            make_check(host.cards.get())

    with pytest.raises(InternalError, match="read-only transaction"):
        write()
