"""Holds: claims that no guest has used yet, and what the database makes of them."""

import uuid
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from inventory import ledger
from inventory.card_checks import needs_sanitising
from inventory.choices import CardCondition, CardEventKind, HostConnection, HostPolicy
from inventory.exceptions import NotClaimable
from inventory.fleet_history import fleet_at
from inventory.free_host import free_host
from inventory.ledger import Actor
from inventory.ledger_audit import audit
from inventory.models import Alert, Card, CardClaim, Discrepancy, Host, NodeClaim
from inventory.search import Search
from inventory.shape import shape_of
from inventory.snapshots import (
    accepting_hosts,
    is_free_of_many,
    snapshots_of,
    stale_after,
)
from inventory.topology import NodeShare
from tests.builders import make_host, make_region
from tests.inventory.test_constraints import refused

pytestmark = pytest.mark.django_db
ACTOR = Actor("user:tester", "a test")


def hold(
    host: Host,
    cards: list[Card],
    cpus: tuple[int, ...] = (0,),
    *,
    is_hold: bool = True,
    hugepage_kib: int = 0,
) -> uuid.UUID:
    consumer = uuid.uuid4()
    ids = tuple(card.pk for card in cards)
    share = NodeShare(0, ids, cpus, len(cpus), 256, hugepage_kib)
    with transaction.atomic():
        ledger.lock_host(host.pk)
        ledger.claim(free_host(host.pk), [share], consumer, ACTOR, is_hold=is_hold)
    return consumer


def take_up(consumer: uuid.UUID) -> None:
    with transaction.atomic():
        ledger.lock_hosts_of(consumer)
        ledger.take_up(consumer, ACTOR)


def kinds(card: Card) -> list[str]:
    return [event.kind for event in card.events.order_by("pk")][3:]


def test_hold_that_ends_unused_frees_its_card_at_once() -> None:
    host = make_host()
    card = host.cards.all()[0]
    before = snapshots_of([host])
    consumer = hold(host, [card])
    assert card not in Card.objects.filter(is_free_of_many())

    ledger.release(consumer, ACTOR)

    card.refresh_from_db()
    host.refresh_from_db()
    assert card.condition == CardCondition.READY
    assert card in Card.objects.filter(is_free_of_many())
    assert not needs_sanitising(card)
    assert snapshots_of([host]) == before
    assert host.free_shape == "rtx6000=2 c2x1 m1152|rtx6000=2 c2x1 m1152"
    assert kinds(card) == [CardEventKind.HELD, CardEventKind.RELEASED]


def test_hold_that_was_taken_up_leaves_its_card_dirty() -> None:
    host = make_host()
    card = host.cards.all()[0]
    consumer = hold(host, [card])

    take_up(consumer)
    assert needs_sanitising(card)
    ledger.release(consumer, ACTOR)

    card.refresh_from_db()
    assert card.condition == CardCondition.DIRTY
    assert needs_sanitising(card)
    assert kinds(card) == [
        CardEventKind.HELD,
        CardEventKind.TAKEN_UP,
        CardEventKind.RELEASED,
        CardEventKind.CONDITION,
    ]


def test_ledger_of_holds_replays_to_the_rows() -> None:
    host = make_host()
    unused, used, kept, claimed = host.cards.all()
    ledger.release(hold(host, [unused]), ACTOR)
    take_up(hold(host, [used]))
    first = hold(host, [unused], (1,))

    found = audit()

    assert found.difference is None
    assert (found.cards, found.claims) == (4, 3)
    holders = {c.card_id: c.consumer for c in fleet_at(ledger.clock())}
    assert holders[unused.pk] == first
    assert holders[used.pk] is not None
    assert (holders[kept.pk], holders[claimed.pk]) == (None, None)


def test_hold_taken_up_without_a_word_in_the_ledger_is_refused() -> None:
    host = make_host()
    hold(host, [host.cards.all()[0]])

    with refused("claim_as_in_ledger"):
        CardClaim.objects.update(is_hold=False)
        connection.check_constraints()

    assert CardClaim.objects.get().is_hold


def test_use_never_becomes_a_hold() -> None:
    host = make_host()
    consumer = hold(host, [host.cards.all()[0]], is_hold=False)

    with refused("claim_only_ends"):
        CardClaim.objects.filter(consumer=consumer).update(is_hold=True)


def test_hold_on_a_card_that_is_no_longer_ready_cannot_be_taken_up() -> None:
    host = make_host()
    card = host.cards.all()[0]
    consumer = hold(host, [card])
    with transaction.atomic():
        ledger.change_condition(card, CardCondition.QUARANTINED, ACTOR)

    with pytest.raises(NotClaimable):
        take_up(consumer)

    assert CardClaim.objects.get(released_at=None).is_hold
    ledger.release(consumer, ACTOR)
    card.refresh_from_db()
    assert card.condition == CardCondition.QUARANTINED


def make_it_hard() -> list[Host]:
    """Return hosts that differ in all that a snapshot tells.

    Cards are held, used, dirty, blocked and retired; CPUs reserved; hugepages free, held
    and used up.
    """
    host = make_host(cards_per_node=(3, 2, 0), cores_per_node=4, threads=2)
    host.nodes.get(number=1).cpus.filter(core=8).update(is_reserved=True)
    cards = list(host.cards.all())
    hold(host, [cards[0]], (0, 1))
    take_up(hold(host, [cards[1]], (4,)))
    Alert.objects.create(
        card=cards[3], alert_class="prevents-claims", source="t", code="c",
        message="m", raised_at=timezone.now(), last_seen_at=timezone.now(),
    )  # fmt: skip
    dirty = make_host(condition=CardCondition.DIRTY)
    paged = make_host(cores_per_node=4)
    paged.nodes.update(hugepages={"1048576": 2, "2048": 256, "16384": 0})
    hold(paged, [paged.cards.all()[0]], (0,), hugepage_kib=2048)
    hold(paged, [], (1,))
    full = make_host()
    full.nodes.update(hugepages={"2048": 128})
    take_up(hold(full, [], (0,), hugepage_kib=2048))
    gone = make_host(condition=CardCondition.RETIRED)
    return [host, dirty, paged, full, gone, make_host(cards_per_node=(0,)), make_host()]


def test_one_statement_reads_what_the_snapshots_say() -> None:
    hosts = make_it_hard()
    found = [free_host(host.pk) for host in hosts]

    assert found == snapshots_of(hosts)
    assert [host.has_cards for host in found] == [True] * 4 + [False, False, True]
    paged, full = (host.nodes[0] for host in found[2:4])
    assert (paged.pages, paged.guests) == (((2048, 128), (1048576, 2)), 2)
    assert (full.pages, full.guests) == ((), 1)


def test_leaving_holder_gives_its_hugepages_back() -> None:
    host = make_host()
    host.nodes.update(hugepages={"2048": 256})
    held = hold(host, [], hugepage_kib=2048)
    stays = hold(host, [], (1,), hugepage_kib=2048)
    assert free_host(host.pk).nodes[0].pages == ()

    left = free_host(host.pk, leaving=held)

    ledger.release(held, ACTOR)
    assert left == free_host(host.pk) == snapshots_of([host])[0]
    assert (left.nodes[0].pages, left.nodes[0].guests) == (((2048, 128),), 1)
    key = Host.objects.get(pk=host.pk).free_shape
    assert key == shape_of(left)
    ledger.release(stays, ACTOR)


def test_search_key_counts_what_a_claim_takes() -> None:
    for host in make_it_hard():
        hold(host, [], (2,) if host.nodes.first().cpus.count() > 2 else (1,))
        key = Host.objects.get(pk=host.pk).free_shape
        assert key == shape_of(snapshots_of([host])[0])


def test_leaving_holder_counts_as_gone_but_its_used_cards_stay() -> None:
    host = make_host()
    first, second = host.cards.all()[:2]
    whole = free_host(host.pk)
    held = hold(host, [first])
    used = hold(host, [second], (1,), is_hold=False)

    left = free_host(host.pk, leaving=held)
    assert [card.card_id for card in left.nodes[0].cards] == [first.pk]
    assert left.nodes[0].cores == ((0,),)
    left = free_host(host.pk, leaving=used)
    assert left.nodes[0].cards == ()
    ledger.release(held, ACTOR)
    assert free_host(host.pk, leaving=used).nodes[0].cores == whole.nodes[0].cores


def test_search_finds_just_the_hosts_that_accept_claims() -> None:
    region = make_region()
    good = [make_host(), make_host(cards_per_node=(1, 1))]
    make_host(policy=HostPolicy.DRAINING)
    make_host(connection=HostConnection.UNKNOWN)
    make_host(last_seen_at=timezone.now() - stale_after() - timedelta(seconds=1))
    make_host(region=make_region("ap-west"))
    alerted, differing = make_host(cards_per_node=(4,)), make_host(cards_per_node=(3,))
    now = timezone.now()
    Alert.objects.create(
        host=alerted, alert_class="prevents-claims", source="t", code="c", message="m",
        raised_at=now, last_seen_at=now,
    )  # fmt: skip
    Discrepancy.objects.create(
        host=differing, kind="host_changed", subject="x", detail="d",
        prevents_claims=True, first_seen_at=now, last_seen_at=now,
    )  # fmt: skip
    search = Search(region.pk, stale_after())
    everything = Host.objects.values_list("free_shape", flat=True)

    found = set()
    for shape in sorted(set(everything)):
        while (host_id := search.first(shape)) is not None:
            locked = search.lock_first(shape)
            assert locked is not None
            assert (locked.host_id, locked.shape) == (host_id, shape)
            assert search.lock(host_id) == locked
            found.add(host_id)
            search.without.add(host_id)

    assert found == {host.pk for host in good}
    assert found == set(
        accepting_hosts().filter(region=region).values_list("pk", flat=True)
    )
    search.without.clear()
    assert set(search.accepting_shapes()) == {host.free_shape for host in good}
    assert set(search.accepting_shapes()) <= set(search.shapes())
    assert search.shapes() == sorted(set(search.shapes()))


def test_claim_of_a_plain_plan_takes_no_card() -> None:
    host = make_host()

    consumer = hold(host, [])

    assert NodeClaim.objects.filter(consumer=consumer, released_at=None).count() == 1
    assert not CardClaim.objects.exists()
    assert ledger.release(consumer, ACTOR) == [host.pk]
