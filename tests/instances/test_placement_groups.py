"""Placement groups: no two members of a strict one on one host, whoever asks and when."""

import dataclasses
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from instances.actions import placement_groups as actions
from instances.actions.caller import Caller
from instances.actions.launch import launch
from instances.actions.placement_groups import HAS_MEMBERS
from instances.choices import Phase, PlacementPolicy
from instances.exceptions import InvalidRequest, NoCapacity, NoRoomApart
from instances.lifecycle import advance
from instances.models import (
    Account,
    Event,
    Instance,
    PlacementGroup,
    PlacementMember,
    Plan,
    RefusedDemand,
)
from instances.placement import Apart, NoFit, Placement, Request, place
from instances.placement_groups import Wish, members
from instances.release import release_all
from instances.selectors import host_of
from inventory.choices import HostPolicy
from inventory.ledger import Actor
from inventory.models import NodeClaim, Region
from inventory.topology import HostSnapshot
from tests.builders import (
    make_account,
    make_host,
    make_image,
    make_order,
    make_plan,
    make_region,
)
from tests.instances.test_launch import in_parallel
from tests.instances.test_placement import fleets, often, requests
from tests.instances.test_reservations import make_reservation_order, reserve

pytestmark = pytest.mark.django_db
ACTOR = Actor("test:groups", "a test")


@pytest.fixture
def account() -> Account:
    return make_account()


@pytest.fixture
def plan() -> Plan:
    make_image()
    return make_plan("one")


def make_group(
    account: Account,
    policy: PlacementPolicy = PlacementPolicy.STRICT,
    region: Region | None = None,
    label: str = "apart",
) -> PlacementGroup:
    return PlacementGroup.objects.create(
        account=account, region=region or make_region(), label=label, policy=policy
    )


def launched(
    account: Account, plan: Plan, group: PlacementGroup | None = None, **fields: Any
) -> Instance:
    only = fields.pop("compliant_only", False)
    wish = Wish(group.pk, only) if group else None
    return launch(make_order(account, plan=plan.slug, group=wish, **fields))


def hosts_of(group: PlacementGroup) -> list[int]:
    """Return where the members' claims are, not where their rows say."""
    uuids = group.members.values("instance__uuid")
    claims = NodeClaim.objects.filter(consumer__in=uuids, released_at=None)
    return sorted(claims.values_list("numa_node__host", flat=True))


def compliance() -> list[bool]:
    return [member.is_compliant for member in members()]  # type: ignore[attr-defined]


@often
@given(fleets, requests, st.sets(st.integers(0, 4)), st.booleans())
def test_place_keeps_off_what_it_is_told_to(
    fleet: list[HostSnapshot], asked: Request, occupied: set[int], may_share: bool
) -> None:
    apart = Apart("web", frozenset(occupied), may_share)
    others = [host for host in fleet if host.host_id not in occupied]

    placed = place(asked, fleet, apart)

    kept_off = place(asked, others)
    if isinstance(kept_off, Placement):
        assert placed == kept_off
    elif may_share:
        assert placed == place(asked, fleet)
    else:
        assert isinstance(placed, NoFit)
        assert {name: str(why[0]) for name, why in placed.reasons.items()} == {
            **{name: str(why[0]) for name, why in kept_off.reasons.items()},
            **{
                host.name: "another machine of placement group web is on it"
                for host in fleet
                if host.host_id in occupied
            },
        }


def test_strict_group_takes_a_host_each_and_then_refuses(
    account: Account, plan: Plan
) -> None:
    for name in ("a", "b"):
        make_host(name, cards_per_node=(4,), cores_per_node=8)
    make_host("c", cards_per_node=(4,), policy=HostPolicy.DRAINING)
    make_host("d", cards_per_node=(0,))
    group = make_group(account)
    for _ in range(2):
        launched(account, plan, group)
    before = [Instance.objects.count(), NodeClaim.objects.count()]

    with pytest.raises(NoRoomApart) as refused:
        launched(account, plan, group)

    assert len(set(hosts_of(group))) == 2
    assert refused.value.field == "placement_group"
    assert refused.value.public_message == (
        "No host in us-east without a Linode of placement group apart has room for one "
        "right now."
    )
    assert sorted(str(refused.value.no_fit).split("; ")) == [
        "1 host: 0 of 1 cards free",
        "1 host: draining",
        "2 hosts: another machine of placement group apart is on it",
    ]
    assert refused.value.no_fit.reasons.keys() == {"a", "b", "c", "d"}
    assert [Instance.objects.count(), NodeClaim.objects.count()] == before
    assert RefusedDemand.objects.get().reason == RefusedDemand.Reason.CAPACITY
    # Without the group there is room.
    launched(account, plan)


def test_full_region_is_no_matter_of_the_group(account: Account, plan: Plan) -> None:
    make_host(cards_per_node=(1,))
    group = make_group(account)
    launched(account, plan, group)

    with pytest.raises(NoCapacity) as refused:
        launched(account, plan, group)

    assert refused.value.field == "region"


def test_flexible_group_shares_a_host_only_when_no_other_will_do(
    account: Account, plan: Plan
) -> None:
    for _ in range(2):
        make_host(cards_per_node=(4,), cores_per_node=8)
    group = make_group(account, PlacementPolicy.FLEXIBLE)
    *_, third = (launched(account, plan, group) for _ in range(3))

    assert len(set(hosts_of(group)[:3])) == 2
    assert compliance() == [True, True, False]
    with pytest.raises(NoRoomApart):
        launched(account, plan, group, compliant_only=True)
    assert PlacementMember.objects.count() == 3
    # What it stood beside goes, and it is compliant.
    beside = PlacementMember.objects.filter(
        host=third.placement_member.host, instance__lt=third.pk
    ).get()
    end(beside.instance)
    assert compliance() == [True, True]


def _member_ids() -> list[int]:
    return list(PlacementMember.objects.values_list("instance_id", flat=True))


@transaction.atomic
def end(instance: Instance) -> None:
    """End it as the undo of its launch does."""
    release_all(instance.uuid, ACTOR)
    assert advance(instance.pk, Phase.FAILED)


def test_ended_instance_leaves_its_group_and_makes_room(
    account: Account, plan: Plan
) -> None:
    make_host(cards_per_node=(2,))
    group = make_group(account)
    first = launched(account, plan, group)
    caller = Caller(account, "tester")
    with pytest.raises(InvalidRequest, match=HAS_MEMBERS):
        actions.delete(caller, group)

    end(first)

    assert not PlacementMember.objects.exists()
    second = launched(account, plan, group)
    assert host_of(second) is not None
    end(second)
    actions.delete(caller, group)
    assert not PlacementGroup.objects.exists()


@pytest.mark.parametrize("policy", PlacementPolicy)
def test_reservation_beside_a_member_is_used_by_a_flexible_group_alone(
    account: Account, plan: Plan, policy: PlacementPolicy
) -> None:
    make_host(cards_per_node=(4,), cores_per_node=8)
    group = make_group(account, policy)
    launched(account, plan, group)
    held = reserve(make_reservation_order(account, plan))

    if policy == PlacementPolicy.FLEXIBLE:
        with pytest.raises(InvalidRequest):
            launched(account, plan, group, reservation=held.pk, compliant_only=True)
        launched(account, plan, group, reservation=held.pk)
        assert compliance() == [True, False]
        return
    with pytest.raises(InvalidRequest) as refused:
        launched(account, plan, group, reservation=held.pk)

    assert refused.value.errors == [
        (
            "reservation",
            "What this reservation holds is on the same host as another Linode of "
            "placement group apart",
        )
    ]
    held.refresh_from_db()
    assert held.state == "active"
    make_host(cards_per_node=(1,))
    launched(account, plan, group)


@override_settings(PLACEMENT_GROUP_MEMBERS_MAX=1)
def test_group_has_a_limit(account: Account, plan: Plan) -> None:
    for _ in range(2):
        make_host()
    group = make_group(account)
    launched(account, plan, group)

    with pytest.raises(InvalidRequest) as refused:
        launched(account, plan, group)

    assert refused.value.errors == [
        (
            "placement_group.id",
            "A placement group may have 1 Linodes, and apart has 1",
        )
    ]


def test_assigned_instances_stay_where_they_are(account: Account, plan: Plan) -> None:
    make_host(cards_per_node=(4,), cores_per_node=8)
    caller = Caller(account, "tester")
    first, second = (launched(account, plan) for _ in range(2))
    both = [first.pk, second.pk]
    strict = make_group(account)
    flexible = make_group(account, PlacementPolicy.FLEXIBLE, label="loose")

    for group, only in ((strict, False), (flexible, True)):
        with pytest.raises(InvalidRequest) as refused:
            actions.assign(caller, group, both, compliant_only=only)
        assert refused.value.errors == [
            (
                "linodes",
                f"Linode {second.pk} is on the same host as another Linode of placement "
                f"group {group.label}",
            )
        ]
        assert not PlacementMember.objects.exists()
        assert not Event.objects.filter(entity_type="placement_group").exists()
    actions.assign(caller, flexible, [second.pk, first.pk])

    assert compliance() == [True, False]
    assert _member_ids() == [first.pk, second.pk]
    actions.unassign(caller, flexible, [first.pk])
    assert compliance() == [True]
    actions.assign(caller, strict, [first.pk])
    with pytest.raises(InvalidRequest) as refused:
        actions.assign(caller, strict, [second.pk])
    assert refused.value.errors == [
        ("linodes", f"Linode {second.pk} is in placement group loose already")
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("policy", PlacementPolicy)
def test_launches_at_once_take_a_host_each(policy: PlacementPolicy) -> None:
    account, plan = make_account(), make_plan("one")
    for _ in range(3):
        make_host(cards_per_node=(2, 2))
    make_image()
    group = make_group(account, policy)
    before = _deadlocks()

    # Among others' launches, which wait for the same hosts.
    results = in_parallel(
        9, lambda i: launched(account, plan, group if i < 6 else None)
    )

    kinds = sorted(type(result).__name__ for result in results)
    if policy == PlacementPolicy.STRICT:
        assert kinds == ["Instance"] * 6 + ["NoRoomApart"] * 3
        assert len(set(hosts_of(group))) == 3
    else:
        assert kinds == ["Instance"] * 9
        assert len(hosts_of(group)) == 6
        assert compliance() == [True] * 3 + [False] * 3
    assert _deadlocks() == before


@pytest.mark.django_db(transaction=True)
def test_assigns_launches_and_ends_at_once_never_share_a_host() -> None:
    account, plan = make_account(), make_plan("one")
    for _ in range(3):
        make_host(cards_per_node=(2, 2))
    make_image()
    group, caller = make_group(account), Caller(account, "tester")
    loose = [launched(account, plan) for _ in range(4)]
    ending = launched(account, plan, group)
    before = _deadlocks()

    def work(index: int) -> object:
        if index < 4:
            return actions.assign(caller, group, [loose[index].pk])
        return end(ending) if index == 4 else launched(account, plan, group)

    results = in_parallel(8, work)

    assert {type(result).__name__ for result in results} <= {
        *("NoneType", "Instance", "InvalidRequest", "NoRoomApart")
    }
    held = hosts_of(group)
    assert len(held) == len(set(held)) == group.members.count()
    assert _deadlocks() == before


def _deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        return int(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
@override_settings(PLACEMENT_GROUP_MEMBERS_MAX=1)
def test_repeats_of_a_keyed_launch_at_once_are_one_member() -> None:
    account, plan = make_account(), make_plan("one")
    make_host()
    make_image()
    group = make_group(account)

    results = in_parallel(
        3, lambda _: launched(account, plan, group, idempotency_key="k")
    )

    assert [getattr(result, "pk", result) for result in results] == [
        Instance.objects.get().pk
    ] * 3
    assert PlacementMember.objects.count() == 1


def test_group_is_part_of_what_a_key_stands_for(account: Account) -> None:
    order = make_order(account)
    orders = [
        dataclasses.replace(order, group=wish)
        for wish in (None, Wish(1), Wish(2), Wish(1, compliant_only=True))
    ]
    assert len({order.digest for order in orders}) == 4


def test_launch_without_a_group_asks_nothing_about_groups(
    account: Account, plan: Plan
) -> None:
    make_host()
    order = make_order(account, plan=plan.slug)

    with CaptureQueriesContext(
        connection,
    ) as asked:
        launch(order)

    assert [q["sql"] for q in asked if "placement" in q["sql"]] == []


# The database's own word: what code could do wrong.


@transaction.atomic
def checked_at_once(work: Any) -> None:
    work()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def refused_by(name: str, work: Any) -> None:
    with pytest.raises(IntegrityError) as refused:
        checked_at_once(work)
    cause: Any = refused.value.__cause__
    assert cause.diag.constraint_name == name


def test_database_refuses_what_no_group_may_have(account: Account, plan: Plan) -> None:
    host = make_host(cards_per_node=(4,), cores_per_node=8)
    strict = make_group(account)
    first = launched(account, plan, strict)
    second = launched(account, plan)
    elsewhere = make_host()

    def member(**fields: Any) -> Any:
        values = {
            "group": strict, "instance": second, "host": host, "policy": "strict",
            **fields,
        }  # fmt: skip
        return lambda: PlacementMember.objects.create(**values)

    theirs = make_group(make_account(), PlacementPolicy.FLEXIBLE)
    west = make_group(account, PlacementPolicy.FLEXIBLE, make_region("ap-west"), "west")
    mine = "placement_member_of_one_account_and_region"
    for name, work in (
        ("strict_group_once_on_a_host", member()),
        ("placement_member_has_its_groups_policy", member(policy="flexible")),
        ("placement_member_where_its_claims_are", member(host=elsewhere)),
        (mine, member(group=theirs, policy="flexible")),
        (mine, member(group=west, policy="flexible")),
        (
            "placement_member_has_its_groups_policy",
            lambda: PlacementGroup.objects.update(policy="flexible"),
        ),
        (
            "placement_member_lives",
            lambda: Instance.objects.filter(pk=first.pk).update(
                phase=Phase.FAILED, ended_at=first.created_at
            ),
        ),
    ):
        refused_by(name, work)
    assert _member_ids() == [first.pk]
