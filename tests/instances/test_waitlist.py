"""The waitlist: first come, first told, and what is told is held."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import Settings

from instances import holds, tasks, waitlist
from instances.actions import webhooks as webhook_actions
from instances.actions.launch import launch
from instances.actions.reserve import release_reservation
from instances.actions.waitlist import join, leave
from instances.exceptions import InvalidRequest, NoCapacity
from instances.models import (
    Account,
    Event,
    GpuQuota,
    Plan,
    RefusedDemand,
    Reservation,
    WaitlistEntry,
    WebhookDelivery,
)
from inventory.choices import HostPolicy
from inventory.models import CardClaim, Host, Region
from tests.builders import (
    GPU_FLAG,
    make_account,
    make_flag,
    make_gpu_model,
    make_host,
    make_order,
    make_plan,
    make_region,
)
from tests.instances.test_launch import in_parallel
from tests.instances.test_reservations import make_reservation

pytestmark = pytest.mark.django_db


@pytest.fixture
def plan(db: None) -> Plan:
    make_region()
    return make_plan("gpu-1")


def waits(plan: Plan, account: Account | None = None) -> WaitlistEntry:
    account = account or make_account()
    return WaitlistEntry.objects.get(pk=join(account, plan.slug, "us-east", "user:t"))


def told() -> list[int]:
    """Return the entries that were told, in the order in which they were."""
    events = Event.objects.filter(action="gpu_available").order_by("pk")
    return list(events.values_list("entity_id", flat=True))


def status(entry: WaitlistEntry) -> tuple[str, int]:
    row: Any = waitlist.shown_entries_of(entry.account).get(pk=entry.pk)
    return row.status, row.position


def room_for(cards: int) -> Host:
    return make_host(cards_per_node=(cards,), cores_per_node=8, memory_mib=8192)


def test_the_first_in_line_is_told_of_what_is_held_for_them(
    plan: Plan, settings: Settings
) -> None:
    first, second = waits(plan), waits(plan)
    hook, _ = webhook_actions.create(first.account, "https://x.example.net", [], "t")
    assert waitlist.tell_waiting() == 0
    assert (status(first), status(second)) == (("waiting", 1), ("waiting", 2))

    room_for(1)
    tasks.look_after_fleet()

    assert told() == [first.pk]
    assert waitlist.tell_waiting() == 0
    first.refresh_from_db()
    held = first.reservation
    assert held is not None
    assert (held.account, held.plan, held.state) == (first.account, plan, "active")
    assert CardClaim.objects.get(released_at=None).consumer == held.uuid
    event = Event.objects.get()
    assert (event.account, event.entity_type, event.status, event.message) == (
        first.account,
        "waitlist",
        "notification",
        f"gpu-1 is held for you in us-east until {held.expires_at:%Y-%m-%dT%H:%M:%S}: "
        f"create it with reservation {held.pk}.",
    )
    # Told by a webhook too, in the same transaction.
    delivery = WebhookDelivery.objects.get()
    assert (delivery.webhook, delivery.event["id"]) == (hook, event.pk)
    assert (status(first)[0], status(second)) == ("offered", ("waiting", 1))

    launch(make_order(first.account, plan=plan.slug, reservation=held.pk))
    assert status(first)[0] == "used"


@pytest.mark.parametrize("ends", ["expires", "declined", "released"])
def test_what_is_not_used_goes_to_the_next_in_line(plan: Plan, ends: str) -> None:
    entries = [waits(plan) for _ in range(3)]
    room_for(1)
    waitlist.tell_waiting()
    held = Reservation.objects.get()

    if ends == "expires":
        Reservation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        holds.expire_due()
    elif ends == "declined":
        leave(entries[0].pk, "user:t")
    else:
        release_reservation(held.pk, "user:t")
    waitlist.tell_waiting()

    assert told() == [entries[0].pk, entries[1].pk]
    assert CardClaim.objects.filter(released_at=None).count() == 1
    if ends == "declined":
        assert not waitlist.shown_entries_of(entries[0].account).exists()
    else:
        assert status(entries[0])[0] == "lapsed"


def test_as_many_are_told_as_fit_and_no_more(plan: Plan) -> None:
    entries = [waits(plan) for _ in range(4)]
    room_for(3)

    assert waitlist.tell_waiting() == 3

    assert told() == [entry.pk for entry in entries[:3]]
    assert not RefusedDemand.objects.exists()


def test_who_does_not_fit_is_passed_by_and_keeps_the_place(plan: Plan) -> None:
    large, small = waits(make_plan("gpu-2", cards=2)), waits(plan)
    first = room_for(1)
    waitlist.tell_waiting()
    assert told() == [small.pk]

    later = waits(plan)
    Host.objects.filter(pk=first.pk).update(policy=HostPolicy.DRAINING)
    room_for(2)
    waitlist.tell_waiting()

    assert told() == [small.pk, large.pk]
    assert status(later) == ("waiting", 1)


def test_who_is_over_the_quota_or_before_a_shut_flag_waits_on(plan: Plan) -> None:
    gated = make_plan("gpu-gated", flag_name=GPU_FLAG)
    quota, flagged, free = make_account(), make_account(), make_account()
    flag = make_flag(accounts=(flagged,))
    entries = [waits(plan, quota), waits(gated, flagged), waits(plan, free)]
    limit = GpuQuota.objects.create(account=quota, gpu_model=make_gpu_model(), cards=0)
    flag.accounts.clear()
    room_for(3)

    assert waitlist.tell_waiting() == 1
    assert told() == [entries[2].pk]
    limit.delete()
    flag.accounts.add(flagged)
    # Not at every look, but soon.
    assert waitlist.tell_waiting() == 0
    WaitlistEntry.objects.update(not_before=Now())
    assert waitlist.tell_waiting() == 2
    assert told() == [entries[2].pk, entries[0].pk, entries[1].pk]


def test_regions_have_lines_of_their_own(plan: Plan) -> None:
    make_region("ap-west")
    here = waits(plan)
    there = WaitlistEntry.objects.get(
        pk=join(make_account(), plan.slug, "ap-west", "user:t")
    )
    make_host(cards_per_node=(1,), region=Region.objects.get(slug="ap-west"))

    waitlist.tell_waiting()

    assert told() == [there.pk]
    assert status(here) == ("waiting", 1)


def test_a_wait_ends_at_its_time(plan: Plan) -> None:
    entry = waits(plan)
    WaitlistEntry.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    room_for(1)

    assert waitlist.tell_waiting() == 0

    assert (status(entry)[0], told()) == ("expired", [])
    with pytest.raises(InvalidRequest, match="has ended"):
        leave(entry.pk, "user:t")
    # And one may join again.
    waits(plan, entry.account)


def test_an_account_has_one_place_a_plan_and_ten_in_all(plan: Plan) -> None:
    account = make_account()
    entry = waits(plan, account)
    with pytest.raises(InvalidRequest, match=f"already: entry {entry.pk}"):
        waits(plan, account)
    for _ in range(9):
        waits(make_plan(), account)
    with pytest.raises(InvalidRequest, match="Account Limit reached"):
        waits(make_plan(), account)
    leave(entry.pk, "user:t")
    waits(plan, account)
    assert account.waitlist.filter(state="waiting").count() == 10


def test_a_crash_before_the_end_tells_nobody_and_holds_nothing(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = waits(plan)
    room_for(1)

    def die(*_: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(waitlist, "_tell", die)
        with pytest.raises(SystemExit):
            waitlist.tell_waiting()

    assert (status(entry)[0], told()) == ("waiting", [])
    assert not Reservation.objects.exists()
    assert not CardClaim.objects.exists()
    assert waitlist.tell_waiting() == 1


def test_the_database_knows_no_told_entry_without_a_reservation(plan: Plan) -> None:
    waits(plan)
    with pytest.raises(IntegrityError, match="waitlist_told"), transaction.atomic():
        WaitlistEntry.objects.update(state="told", ended_at=Now())
    with pytest.raises(IntegrityError, match="waitlist_ended"), transaction.atomic():
        WaitlistEntry.objects.update(state="expired")


@pytest.mark.django_db(transaction=True)
def test_many_looks_at_once_keep_the_order_and_tell_once() -> None:
    make_region()
    plan = make_plan("gpu-1")
    entries = [waits(plan) for _ in range(6)]
    room_for(4)

    results = in_parallel(4, lambda _: waitlist.tell_waiting())
    # A look that met another at the region left the line to it.
    waitlist.tell_waiting()

    assert [r for r in results if isinstance(r, Exception)] == []
    assert told() == [entry.pk for entry in entries[:4]]
    assert CardClaim.objects.filter(released_at=None).count() == 4


@pytest.mark.django_db(transaction=True)
def test_who_leaves_while_being_told_leaves_nothing_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_region()
    entry = waits(make_plan("gpu-1"))
    room_for(1)
    leaving = threading.Event()
    errors: list[Exception] = []

    def leave_now() -> None:
        try:
            leaving.set()
            leave(entry.pk, "user:t")
        except Exception as error:  # noqa: BLE001 -- the test looks at it
            errors.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=leave_now)
    tell = waitlist._tell

    def tell_meanwhile(*args: Any) -> None:
        # The entry is locked from here on: the other one waits for the outcome.
        thread.start()
        leaving.wait(30)
        tell(*args)

    monkeypatch.setattr(waitlist, "_tell", tell_meanwhile)
    waitlist.tell_waiting()
    thread.join(30)

    assert errors == []
    entry.refresh_from_db()
    assert (entry.state, Reservation.objects.get().state) == ("cancelled", "released")
    assert not CardClaim.objects.filter(released_at=None).exists()


def test_what_others_take_in_between_is_promised_to_nobody(plan: Plan) -> None:
    entry = waits(plan)
    room_for(1)
    taken = make_reservation(plan=plan)

    assert waitlist.tell_waiting() == 0
    with pytest.raises(NoCapacity):
        make_reservation(plan=plan)
    release_reservation(taken.pk, "user:t")

    assert waitlist.tell_waiting() == 1
    assert told() == [entry.pk]
