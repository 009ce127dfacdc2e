"""Why a request fits nowhere, and that the change named does admit it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from instances.capacity import sellable_count
from instances.changes import ChangeKind
from instances.claiming import claim_capacity
from instances.explain import why_not
from instances.placement import NoFit, NumaPolicy, Placement, Request
from instances.remedies import remedy_for, smallest_change
from inventory.choices import CardCondition, CheckKind, HostConnection, HostPolicy
from inventory.host_contents import Supposition
from inventory.host_policy import set_policy
from inventory.ledger import Actor, change_condition, refresh_shape, release
from inventory.models import Card, Host, Region
from inventory.snapshots import accepting_hosts, contents_of, snapshots_of
from tests.builders import make_card, make_check, make_host, make_region

pytestmark = pytest.mark.django_db

ACTOR = Actor("test:explain", "a test")


def asked(cards: int, **fields: object) -> Request:
    model = "rtx6000" if cards else None
    return Request(max(1, cards), 64, cards, model, **fields)  # type: ignore[arg-type]


@transaction.atomic
def take(request: Request, region: Region) -> Placement:
    placed = claim_capacity(request, region, uuid4(), ACTOR)
    assert isinstance(placed, Placement), str(placed)
    return placed


def test_hosts_are_grouped_by_reason_and_closed_ones_told_with_their_age() -> None:
    for _ in range(2):
        make_host(cards_per_node=(2, 1))
    make_host(cards_per_node=(4,), policy=HostPolicy.DRAINING)
    make_host(
        cards_per_node=(4,),
        connection=HostConnection.UNKNOWN,
        last_seen_at=timezone.now() - timedelta(minutes=4, seconds=5),
    )
    make_host(cards_per_node=(4,), policy=HostPolicy.RETIRED)
    make_host(region=make_region("ap-west"), cards_per_node=(4,))

    found = why_not(asked(3, numa_policy=NumaPolicy.REQUIRED), make_region())

    assert sorted(str(found).split("; ")) == [
        "1 host: draining",
        "1 host: unknown for 4 min",
        "2 hosts: no node with 3 free cards (most: 2)",
    ]


def test_refused_claim_says_the_same_as_place_on_all_hosts() -> None:
    for cards in (0, 1, 3):
        make_host(cards_per_node=(cards,), cores_per_node=3)
    region = make_region()

    with transaction.atomic():
        refused = claim_capacity(asked(4), region, uuid4(), ACTOR)

    assert isinstance(refused, NoFit)
    assert str(refused) == "3 hosts: 0 to 3 of 4 cards free"
    assert len(refused.reasons) == 3


def test_work_of_a_refusal_does_not_grow_with_the_fleet(
    django_assert_max_num_queries: object,
) -> None:
    for _ in range(6):
        make_host(cards_per_node=(1,))
    region = make_region()

    with django_assert_max_num_queries(2):  # type: ignore[operator]
        found = why_not(asked(2), region)

    assert [(g.hosts, len(g.names)) for g in found.groups] == [(6, 6)]


@transaction.atomic
def make_ready(card_id: int) -> None:
    """Do what the checks do, from whatever condition the card is in."""
    card = Card.objects.get(pk=card_id)
    if card.condition == CardCondition.READY:
        return  # It was but held.
    if card.condition != CardCondition.UNVERIFIED:
        change_condition(card, CardCondition.SANITISING, ACTOR)
        make_check(card, CheckKind.SANITISE)
    change_condition(card, CardCondition.TESTING, ACTOR)
    make_check(card, CheckKind.TEST)
    change_condition(card, CardCondition.READY, ACTOR)
    refresh_shape(card.host)


def apply(request: Request, region: Region) -> ChangeKind | None:
    """Do what the smallest change names; return its kind."""
    change = smallest_change(request, region)
    if change is None:
        return None
    host = Host.objects.get(name=change.host)
    if change.kind is ChangeKind.OPEN_HOST:
        set_policy(host.pk, HostPolicy.IN_SERVICE, ACTOR)
        Host.objects.filter(pk=host.pk).update(
            connection=HostConnection.OK, last_seen_at=timezone.now()
        )
    elif change.kind is ChangeKind.ADD_HOST:
        cards = tuple(node.cards.count() for node in host.nodes.all())
        make_host(cards_per_node=cards, cores_per_node=4)
    elif change.consumer is not None:
        with transaction.atomic():
            release(change.consumer, ACTOR)
    for card in change.cards:
        make_ready(card.card_id)
    return change.kind


@settings(max_examples=max(40, settings.default.max_examples))
@given(
    boards=st.lists(
        st.tuples(
            st.sampled_from(((2, 2), (4,), (1, 1, 1))),
            st.sampled_from((*HostPolicy.values[:3], "unknown")),
        ),
        min_size=1,
        max_size=3,
    ),
    spoilt=st.integers(0, 3),
    sold=st.lists(st.integers(1, 3), max_size=4),
    cards=st.integers(1, 4),
    policy=st.sampled_from((NumaPolicy.REQUIRED, NumaPolicy.PREFERRED)),
)
def test_change_that_is_named_admits_the_request(
    boards: list[tuple[tuple[int, ...], str]],
    spoilt: int,
    sold: list[int],
    cards: int,
    policy: NumaPolicy,
) -> None:
    request = asked(cards, numa_policy=policy)
    with undone():
        region = make_region()
        for cards_per_node, state in boards:
            make_host(
                cards_per_node=cards_per_node,
                cores_per_node=4,
                **(
                    {"connection": HostConnection.UNKNOWN}
                    if state == "unknown"
                    else {"policy": state}
                ),
            )
        for card in Card.objects.order_by("pk")[:spoilt]:
            with transaction.atomic():
                change_condition(card, CardCondition.QUARANTINED, ACTOR)
                refresh_shape(card.host)
        for number, size in enumerate(sold):
            held = bool(number % 2)
            with transaction.atomic():
                claim_capacity(asked(size), region, uuid4(), ACTOR, is_hold=held)
        if fits(request, region):
            return

        kind = apply(request, region)

        if kind is None:
            assert not any_host_could_ever(request)
        else:
            assert fits(request, region), kind


@contextmanager
def undone() -> Iterator[None]:
    """Leave the database as it was: Hypothesis runs many examples in one test."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def fits(request: Request, region: Region) -> bool:
    hosts = accepting_hosts().filter(region=region)
    return bool(sellable_count(request, snapshots_of(hosts)))


def any_host_could_ever(request: Request) -> bool:
    """Say whether an accepting host would hold it, were it new."""
    suppose = Supposition(is_new=True)
    hosts = contents_of(accepting_hosts())
    return any(sellable_count(request, [h.snapshot(suppose)]) for h in hosts)


def test_smallest_change_prefers_what_nobody_pays_for() -> None:
    region = make_region()
    host = make_host("gpu-a", cards_per_node=(2,), cores_per_node=4)
    take(asked(1), region)
    take(asked(1), region)
    request = asked(1)

    assert remedy_for(request, region).startswith("Release what ")
    make_card(host.nodes.get(), "0000:55:00", condition=CardCondition.DIRTY)
    assert remedy_for(request, region) == (
        "Have card 0000:55:00 (dirty) of gpu-a made ready."
    )
    make_host("gpu-b", cards_per_node=(1,), policy=HostPolicy.DRAINING)
    assert remedy_for(request, region) == "Put gpu-b back in service: it is draining."


def test_host_with_two_faults_is_no_remedy() -> None:
    make_host(
        "gpu-a",
        cards_per_node=(1,),
        policy=HostPolicy.DRAINING,
        connection=HostConnection.UNKNOWN,
    )

    assert remedy_for(asked(1), make_region()) == ""


def test_full_hosts_name_one_host_more() -> None:
    make_host("gpu-a", cards_per_node=(1, 1), cores_per_node=1)
    region = make_region()
    take(asked(1), region)
    take(asked(1), region)

    assert remedy_for(asked(2), region) == "Add one host more like gpu-a."
