"""Reservations: held until a time, used once or let go, and safe at every crash and race."""

import uuid
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from instances import holds, tasks
from instances.actions.launch import launch
from instances.actions.reserve import ReservationOrder, release_reservation, reserve
from instances.choices import Phase, ReservationState
from instances.exceptions import (
    IdempotencyConflict,
    InvalidRequest,
    NoCapacity,
    ReservationEnded,
)
from instances.fleet_owners import owners_of
from instances.models import Account, Instance, Plan, Reservation
from inventory import ledger
from inventory.choices import CardCondition, HostPolicy
from inventory.ledger import Actor
from inventory.ledger_audit import audit
from inventory.models import Card, CardClaim, CardEvent, Host, NodeClaim
from tests.builders import (
    GPU_FLAG,
    make_account,
    make_flag,
    make_host,
    make_image,
    make_order,
    make_plan,
    make_region,
)
from tests.instances.test_launch import in_parallel
from tests.inventory.test_constraints import refused
from tests.simulated import SimulatedHypervisor

pytestmark = pytest.mark.django_db


def make_reservation_order(
    account: Account | None = None, plan: Plan | None = None, **fields: object
) -> ReservationOrder:
    make_region()
    values: dict[str, object] = {
        "account": account or make_account(),
        "plan": (plan or make_plan()).slug,
        "region": "us-east",
        "expires_at": timezone.now() + timedelta(hours=1),
        "actor": "user:tester",
        **fields,
    }
    return ReservationOrder(**values)  # type: ignore[arg-type]


def make_reservation(**fields: object) -> Reservation:
    return reserve(make_reservation_order(**fields))  # type: ignore[arg-type]


def order_with(reservation: Reservation, **fields: object) -> Instance:
    return launch(
        make_order(
            reservation.account,
            plan=reservation.plan.slug,
            image=make_image().slug,
            reservation=reservation.pk,
            **fields,
        )
    )


def let_it_be_over(reservation: Reservation) -> None:
    Reservation.objects.filter(pk=reservation.pk).update(expires_at=timezone.now())


def state() -> tuple[object, ...]:
    models = (Instance, Reservation, CardClaim, NodeClaim, CardEvent, Card)
    return tuple(list(model.objects.order_by("pk").values()) for model in models)


def test_reservation_holds_what_the_plan_asks_for() -> None:
    host = make_host()
    plan = make_plan(cards=2, vcpus=2, memory_mib=512)

    reservation = make_reservation(plan=plan)

    claims = CardClaim.objects.filter(consumer=reservation.uuid, released_at=None)
    assert [claim.is_hold for claim in claims] == [True, True]
    node_claim = NodeClaim.objects.get(consumer=reservation.uuid, released_at=None)
    assert (node_claim.vcpus, node_claim.memory_mib) == (2, 512)
    host.refresh_from_db()
    assert host.free_shape == "m640 g1|rtx6000=2 c2x1 m1152"
    assert CardEvent.objects.filter(kind="held", actor="user:tester").count() == 2
    assert owners_of([reservation.uuid])[reservation.uuid].instance == (
        f"reservation {reservation.pk}"
    )


def test_create_that_names_it_takes_just_what_was_held() -> None:
    make_host(cards_per_node=(1,))
    reservation = make_reservation()
    held = list(CardClaim.objects.values_list("pk", "card_id", "claimed_at"))

    instance = order_with(reservation)

    assert instance.uuid == reservation.uuid
    assert list(CardClaim.objects.values_list("pk", "card_id", "claimed_at")) == held
    assert not CardClaim.objects.get().is_hold
    reservation.refresh_from_db()
    assert reservation.state == ReservationState.USED
    event = CardEvent.objects.order_by("-pk")[0]
    assert event.kind == "taken_up"
    assert event.reason.startswith(f"launch of {instance.label} for ")
    assert instance.jobs.get().kind == "launch"
    assert owners_of([instance.uuid])[instance.uuid].instance == instance.label
    assert audit().difference is None


def test_deleted_reservation_frees_its_card_without_a_cleaning() -> None:
    make_host(cards_per_node=(1,))
    reservation = make_reservation()
    with pytest.raises(NoCapacity):
        make_reservation()

    release_reservation(reservation.pk, "user:tester")

    assert Card.objects.get().condition == CardCondition.READY
    assert make_reservation().pk is not None
    with pytest.raises(ReservationEnded):
        release_reservation(reservation.pk, "user:tester")


def test_expired_reservation_is_freed_by_the_periodic_task() -> None:
    make_host(cards_per_node=(2,))
    over, current = make_reservation(), make_reservation()
    let_it_be_over(over)

    tasks.look_after_fleet()

    over.refresh_from_db()
    current.refresh_from_db()
    assert (over.state, current.state) == ("expired", "active")
    assert CardClaim.objects.get(released_at=None).consumer == current.uuid
    assert not NodeClaim.objects.filter(consumer=over.uuid, released_at=None).exists()
    assert holds.expire_due() == 0


def test_crash_while_it_expires_leaves_it_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_host()
    let_it_be_over(make_reservation())
    before = state()

    def crash(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(holds, "release", crash)
    with pytest.raises(SystemExit):
        holds.expire_due()
    assert state() == before

    monkeypatch.undo()
    assert holds.expire_due() == 1


def test_reservation_that_cannot_be_ended_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_host()
    broken, other = make_reservation(), make_reservation()
    let_it_be_over(broken)
    let_it_be_over(other)
    release = holds.release

    def refuse(consumer: UUID, actor: Actor) -> list[int]:
        if consumer == broken.uuid:
            raise IntegrityError("the database refuses")
        return release(consumer, actor)

    monkeypatch.setattr(holds, "release", refuse)

    assert holds.expire_due() == 1

    broken.refresh_from_db()
    other.refresh_from_db()
    assert (broken.state, other.state) == ("active", "expired")


@pytest.mark.parametrize("line", ["lock_hosts_of", "take_up", "clock"])
def test_crash_while_it_is_used_leaves_it_as_it_was(
    monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    make_host()
    reservation = make_reservation()
    before = state()
    calls = []

    def crash(*_: object) -> datetime:
        calls.append(line)
        if line == "clock" and len(calls) == 1:
            return timezone.now()
        raise SystemExit

    monkeypatch.setattr(holds, line, crash)
    with pytest.raises(SystemExit):
        order_with(reservation)
    assert state() == before

    monkeypatch.undo()
    assert order_with(reservation).uuid == reservation.uuid


def refusal(reservation: Reservation, **fields: object) -> str:
    before = state()
    with pytest.raises(InvalidRequest) as caught:
        order_with(reservation, **fields)
    assert state() == before
    ((field, reason),) = caught.value.errors
    assert field == "reservation"
    return reason


def test_reservation_is_used_once() -> None:
    make_host()
    reservation = make_reservation()
    order_with(reservation)

    assert refusal(reservation) == "This reservation has been used"


def test_expired_or_foreign_reservation_cannot_be_used() -> None:
    make_host()
    reservation = make_reservation()

    stranger = make_order(
        make_account(), plan=reservation.plan.slug, reservation=reservation.pk
    )
    with pytest.raises(InvalidRequest, match="There is no such reservation"):
        launch(stranger)
    let_it_be_over(reservation)
    assert refusal(reservation) == "This reservation has expired"
    holds.expire_due()
    assert refusal(reservation) == "This reservation has expired"


def test_reservation_is_for_its_own_plan() -> None:
    make_host()
    reservation = make_reservation()
    other = make_order(reservation.account, reservation=reservation.pk)

    with pytest.raises(InvalidRequest) as caught:
        launch(other)

    assert caught.value.errors == [
        (
            "reservation",
            f"This reservation is for {reservation.plan.slug} in us-east: ask for those",
        )
    ]


@pytest.mark.parametrize("what", ["card", "host"])
def test_held_place_that_is_out_of_order_is_not_used(what: str) -> None:
    make_host()
    reservation = make_reservation()
    card = CardClaim.objects.get().card
    if what == "card":
        with transaction.atomic():
            ledger.change_condition(
                card, CardCondition.QUARANTINED, Actor("user:tester", "broken")
            )
    else:
        Host.objects.update(policy=HostPolicy.DRAINING)

    assert refusal(reservation).startswith(
        "What this reservation holds is out of order"
    )
    release_reservation(reservation.pk, "user:tester")


def test_repeated_create_returns_the_instance_that_used_it() -> None:
    make_host()
    reservation = make_reservation()

    first = order_with(reservation, idempotency_key="k")
    second = order_with(reservation, idempotency_key="k")

    assert first.pk == second.pk


def test_repeated_key_holds_once() -> None:
    make_host()
    order = make_reservation_order(idempotency_key="k")

    first, second = reserve(order), reserve(order)

    assert first.pk == second.pk
    assert CardClaim.objects.count() == 1
    with pytest.raises(IdempotencyConflict):
        reserve(make_reservation_order(order.account, idempotency_key="k"))


def test_flag_gates_reservations_too() -> None:
    make_host()
    account = make_account()
    plan = make_plan(flag_name=GPU_FLAG)
    flag = make_flag(accounts=(account,))
    reservation = reserve(make_reservation_order(account, plan))

    with pytest.raises(InvalidRequest) as caught:
        make_reservation(plan=plan)
    assert caught.value.errors == [
        ("type", "A valid plan type by that ID was not found")
    ]
    flag.everyone = False
    flag.save()
    with pytest.raises(InvalidRequest):
        order_with(reservation)
    assert Reservation.objects.get().state == ReservationState.ACTIVE


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(-1, "expires must be in the future"), (7 * 24 * 3600 + 60, "within 168 hours")],
)
def test_time_of_a_reservation_is_bounded(seconds: int, reason: str) -> None:
    make_host()
    moment = timezone.now() + timedelta(seconds=seconds)

    with pytest.raises(InvalidRequest, match=reason):
        make_reservation(expires_at=moment)

    assert not Reservation.objects.exists()


def test_what_an_instance_has_is_never_released_as_unused() -> None:
    make_host()
    reservation = make_reservation()
    with transaction.atomic():
        Instance.objects.create(
            uuid=reservation.uuid,
            account=reservation.account,
            plan=reservation.plan,
            region=reservation.region,
            image=make_image(),
            label="x",
            created_by="user:tester",
        )

        with refused("released_hold_was_unused"):
            ledger.release(reservation.uuid, Actor("user:tester", "a mistake"))
        with refused("instance_uses_its_claims"):
            connection.check_constraints()
        transaction.set_rollback(True)


def test_ended_reservation_that_still_holds_something_is_refused() -> None:
    make_host()
    reservation = make_reservation()
    ended = {"ended_at": timezone.now()}

    for to, constraint in (
        (ReservationState.EXPIRED, "ended_reservation_holds_nothing"),
        (ReservationState.USED, "used_reservation_has_instance"),
    ):
        with refused(constraint):
            Reservation.objects.update(state=to, **ended)
            connection.check_constraints()
    release_reservation(reservation.pk, "user:tester")
    with refused("reservation_ends_once"):
        Reservation.objects.update(state=ReservationState.ACTIVE, ended_at=None)


def test_failed_launch_of_a_reservation_is_cleaned_like_any(
    simulated_host: SimulatedHypervisor,
) -> None:
    make_host()
    instance = order_with(make_reservation())

    ledger.release(instance.uuid, Actor("job:1", "undone"))

    card = CardClaim.objects.get().card
    assert card.condition == CardCondition.DIRTY
    assert Instance.objects.get().phase == Phase.PROVISIONING


@pytest.mark.django_db(transaction=True)
def test_use_and_expiry_at_once_have_one_winner() -> None:
    """The row lock decides: either an instance has it all, or nobody holds anything."""
    make_host(cards_per_node=(8,), cores_per_node=8, memory_mib=8192)
    account, plan = make_account(), make_plan()
    make_image()
    outcomes = set()
    for number in range(12):
        reservation = reserve(make_reservation_order(account, plan))

        def run(index: int, row: Reservation = reservation, n: int = number) -> object:
            if index == n % 2:
                with transaction.atomic():
                    actor = Actor("system:test", "over")
                    return holds.let_go(row.pk, ReservationState.RELEASED, actor)
            return order_with(row)

        results = in_parallel(2, run)
        reservation.refresh_from_db()
        claims = CardClaim.objects.filter(consumer=reservation.uuid)
        if reservation.state == ReservationState.USED:
            assert claims.get().released_at is None
            assert not claims.get().is_hold
            assert any(isinstance(result, Instance) for result in results)
        else:
            assert claims.get().released_at is not None
            assert claims.get().is_hold
            assert not Instance.objects.filter(uuid=reservation.uuid).exists()
            assert any(isinstance(result, InvalidRequest) for result in results)
        outcomes.add(reservation.state)
    assert outcomes <= {ReservationState.USED, ReservationState.RELEASED}
    assert audit().difference is None


@pytest.mark.django_db(transaction=True)
def test_two_creates_at_once_use_a_reservation_once() -> None:
    make_host()
    reservation = make_reservation()
    make_image()

    results = in_parallel(4, lambda _: order_with(reservation))

    kinds = sorted(type(result).__name__ for result in results)
    assert kinds == ["Instance", "InvalidRequest", "InvalidRequest", "InvalidRequest"]
    assert CardClaim.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_parallel_repeats_of_a_keyed_create_use_it_once() -> None:
    make_host()
    reservation = make_reservation()
    make_image()

    results = in_parallel(4, lambda _: order_with(reservation, idempotency_key="k"))

    assert [getattr(result, "pk", result) for result in results] == [
        Instance.objects.get().pk
    ] * 4
    assert uuid.UUID(str(Instance.objects.get().uuid)) == reservation.uuid
