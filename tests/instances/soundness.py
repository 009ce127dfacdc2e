"""What must hold of a fleet after any step of anybody; each rule asserted by itself."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from uuid import UUID

from django.db import transaction

from instances.capacity import cards_by_region
from instances.jobs.card_records import maintenance_uuid
from instances.models import Instance, Plan
from inventory.card_states import CardState, in_state
from inventory.choices import CardCondition, CardEventKind, CheckKind, CheckOutcome
from inventory.history import CardHistory, Event, replay
from inventory.hypervisor.port import DomainState
from inventory.hypervisor.xml import parse_domain
from inventory.ledger_audit import audit, read_one_moment
from inventory.models import Card, CardCheck, CardClaim, CardEvent, Host, HostOutage
from inventory.shape import shape_of
from inventory.snapshots import is_free_of_many, snapshots_of
from tests.simulated import SimulatedHypervisor

_EVENT_FIELDS = (
    "pk",
    "at",
    "kind",
    "from_condition",
    "to_condition",
    "consumer",
    "claim_id",
    "host_id",
    "slot_path",
)


def assert_sound(hosts: Mapping[int, SimulatedHypervisor]) -> None:
    """Assert every rule. hosts: by the id of the host's row."""
    claims = list(CardClaim.objects.filter(released_at=None))
    assert_agreement(hosts)
    _only_jobs_release(hosts, {claim.card_id: claim.consumer for claim in claims})


def assert_agreement(hosts: Mapping[int, SimulatedHypervisor]) -> None:
    """Assert what holds, too, where reservations end by their time."""
    claims = list(CardClaim.objects.filter(released_at=None).select_related("card"))
    held = {claim.card_id: claim.consumer for claim in claims}
    assert len(held) == len(claims), "a card is in two open claims"
    _counts_agree(set(held))
    _ledger_agrees()
    _search_keys_agree()
    _outages_agree()
    _ready_cards_are_proven(held)
    _guests_hold_what_they_use(hosts, claims)
    _no_tenant_met_anothers_bytes(hosts)


def _outages_agree() -> None:
    """A host of the fleet that does not answer has an open outage, and no other has one."""
    silent = Host.objects.exclude(connection="ok").exclude(policy="retired")
    noted = HostOutage.objects.filter(ended_at=None).values_list("host", flat=True)
    assert sorted(noted) == sorted(silent.values_list("pk", flat=True))


def _counts_agree(held: set[int]) -> None:
    """Used is what open claims name, in the list's words and in the first page's sums."""
    cards = Card.objects.all()
    ids = {
        state: set(in_state(cards, state).values_list("pk", flat=True))
        for state in CardState
    }
    assert ids[CardState.USED] == held
    assert not held & set(
        Card.objects.filter(is_free_of_many()).values_list("pk", flat=True)
    )
    parts = [ids[state] for state in CardState if state is not CardState.FLEET]
    assert sum(map(len, parts)) == len(set().union(*parts))
    assert set().union(*parts) == ids[CardState.FLEET]
    (region,) = cards_by_region(Plan.objects.filter(is_sold=True))
    assert {
        CardState.FLEET: region.total,
        CardState.USED: region.used,
        CardState.FREE: region.free,
        CardState.CLEANING: region.cleaning,
        CardState.BROKEN: region.broken,
        CardState.UNKNOWN: region.unknown,
    } == {state: len(cards) for state, cards in ids.items()}
    assert region.sellable <= region.free


def _ledger_agrees() -> None:
    with transaction.atomic():
        read_one_moment()
        assert audit().difference is None
    events = defaultdict(list)
    rows = CardEvent.objects.order_by("pk").values_list("card_id", *_EVENT_FIELDS)
    for card_id, *fields in rows:
        events[card_id].append(Event(*fields))
    for card_id, told in events.items():
        history = replay(told)
        assert isinstance(history, CardHistory), (card_id, history)
        for intervals in (history.conditions, history.places):
            assert intervals[0].since == told[0].at
            assert intervals[-1].to is None
            _meet([(each.since, each.to) for each in intervals])
        for first, then in pairwise(history.holders):
            assert first.to is not None
            assert first.to <= then.since


def _meet(intervals: list[tuple[datetime, datetime | None]]) -> None:
    for (_, to), (since, _) in pairwise(intervals):
        assert to == since, "a gap or an overlap in a card's life"


def _search_keys_agree() -> None:
    hosts = list(Host.objects.order_by("pk"))
    assert [host.free_shape for host in hosts] == list(
        map(shape_of, snapshots_of(hosts))
    )


def _ready_cards_are_proven(held: Mapping[int, UUID]) -> None:
    """A ready card was tested since it last was not, and scrubbed since it last was used."""
    ready = list(Card.objects.filter(condition=CardCondition.READY))
    passed = defaultdict(list)
    for check in CardCheck.objects.filter(outcome=CheckOutcome.PASSED):
        passed[check.card_id].append(check)
    claims = defaultdict(list)
    for claim in CardClaim.objects.all():
        claims[claim.card_id].append(claim)
    steps = defaultdict(list)
    for event in CardEvent.objects.filter(kind=CardEventKind.CONDITION).order_by("pk"):
        steps[event.card_id].append(event)
    for card in ready:
        before, became = steps[card.pk][-2:]
        assert became.to_condition == CardCondition.READY
        tested = [c for c in passed[card.pk] if c.kind == CheckKind.TEST]
        assert any(
            before.at <= c.started_at <= c.finished_at <= became.at for c in tested
        )
        # Of a reservation that nobody used, no guest had the card.
        ended = [
            c.released_at
            for c in claims[card.pk]
            if c.released_at is not None and not c.is_hold
        ]
        scrubbed = [c for c in passed[card.pk] if c.kind == CheckKind.SANITISE]
        if ended:
            assert any(c.started_at >= max(ended) for c in scrubbed)
        assert card.pk in held or all(c.released_at for c in claims[card.pk])


def _only_jobs_release(
    hosts: Mapping[int, SimulatedHypervisor], held: Mapping[int, UUID]
) -> None:
    """No look ends a claim, and no job does while the host's domain may use the card.

    A domain that is still there was resized, and holds others.
    """
    released = CardEvent.objects.filter(kind=CardEventKind.RELEASED)
    fields = ("actor", "consumer", "card", "card__host_id", "card__slot_path")
    told = list(released.values_list(*fields))
    ended = CardClaim.objects.exclude(released_at=None)
    assert len(told) == ended.count()
    for actor, consumer, card_id, host_id, slot in told:
        assert actor.startswith("job:")
        document = hosts[host_id].documents.get(str(consumer))
        if document is not None and held.get(card_id) != consumer:
            assert consumer in held.values()
            live = parse_domain(document)
            assert not any(str(each).startswith(slot) for each in live.hostdevs)


def _no_tenant_met_anothers_bytes(hosts: Mapping[int, SimulatedHypervisor]) -> None:
    ours = {str(uuid) for uuid in Instance.objects.values_list("uuid", flat=True)}
    for hypervisor in hosts.values():
        met = [leak for leak in hypervisor.leaks if {leak[1], leak[2]} <= ours]
        assert met == []


def _guests_hold_what_they_use(
    hosts: Mapping[int, SimulatedHypervisor], claims: Iterable[CardClaim]
) -> None:
    held = defaultdict(set)
    for claim in claims:
        held[str(claim.consumer)].add((claim.card.host_id, claim.card.slot_path))
    ours = {str(uuid) for uuid in Instance.objects.values_list("uuid", flat=True)}
    checked = {maintenance_uuid(card.pk): card for card in Card.objects.all()}
    for host_id, hypervisor in hosts.items():
        for uuid, state in hypervisor.states.items():
            if uuid in ours:
                document = parse_domain(hypervisor.documents[uuid])
                slots = {(host_id, each.slot_path) for each in document.hostdevs}
                assert slots <= held[uuid], "a guest of ours has what it does not hold"
            elif uuid in checked and state is DomainState.RUNNING:
                card = checked[uuid]
                assert card.condition != CardCondition.READY
                assert card.pk not in {claim.card_id for claim in claims}
