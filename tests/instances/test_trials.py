"""Trials: what a grant takes in, its end to the microsecond, and what is left after it."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from instances import trial_watch
from instances.actions.delete import delete
from instances.actions.launch import launch
from instances.actions.power import boot, reboot, shut_down
from instances.actions.quote import quote
from instances.actions.resize import ResizeOrder, resize
from instances.actions.trials import EMPLOYEES_PAY_NOTHING, Grant, cut_short, grant
from instances.choices import AfterTrial, Desired, JobKind, Phase
from instances.exceptions import (
    InstancesError,
    QuotaExceeded,
    TrialEnded,
    TrialExceeded,
    TrialOver,
)
from instances.invoicing import invoice_differences, make_invoices
from instances.jobs import runner
from instances.models import (
    Account,
    Event,
    GpuQuota,
    Instance,
    InvoiceItem,
    Job,
    Plan,
    RefusedDemand,
    Trial,
    UsageInterval,
)
from instances.price import Month
from instances.quotas import gpu_use
from instances.trial_watch import look_after
from instances.trials import settled
from instances.usage import follow_tags
from instances.usage_audit import audit_usage
from instances.usage_report import totals, usage_of
from inventory.ledger import clock as database_clock
from inventory.models import Alert, CardClaim, Host
from tests.builders import (
    make_account,
    make_gpu_model,
    make_host,
    make_order,
    make_plan,
)
from tests.half_a_year.clock import SimulatedClock, simulated_clock
from tests.instances.test_launch import in_parallel
from tests.simulated import SimulatedHypervisor

HOUR = 3600
DAY = 24 * HOUR


@pytest.fixture
def hypervisor(db: None) -> SimulatedHypervisor:
    make_host(cards_per_node=(4, 4), cores_per_node=8, memory_mib=4096)
    return SimulatedHypervisor()


@pytest.fixture
def clock(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SimulatedClock]:
    with simulated_clock(monkeypatch) as clock:
        yield clock


def granted(account: Account, *plans: Plan, **fields: Any) -> Trial:
    values = {"cards": 2, "card_hours": 10_000, **fields}
    return grant(
        Grant(
            account=account,
            plans=plans,
            by="user:staff",
            reason="to see it",
            **values,
        )
    )


def launched(account: Account, plan: Plan, host: SimulatedHypervisor) -> Instance:
    # However long the clock has jumped over, its host has just been looked at.
    Host.objects.update(last_seen_at=database_clock())
    instance = launch(make_order(account, plan=plan.slug))
    run(host, Job.objects.get(instance=instance).pk)
    instance.refresh_from_db()
    return instance


def run(host: SimulatedHypervisor, *job_ids: int) -> None:
    for job_id in job_ids:
        runner.run(job_id, lambda _uri: host)


def told(trial: Trial) -> list[str]:
    rows = Event.objects.filter(entity_type="trial", entity_id=trial.pk).order_by("pk")
    return [
        action.removeprefix("gpucloud_trial_")
        for action in rows.values_list("action", flat=True)
    ]


def intervals(instance: Instance) -> list[tuple[datetime, datetime | None, bool]]:
    rows = UsageInterval.objects.filter(instance=instance).order_by("starts_at")
    return list(rows.values_list("starts_at", "ends_at", "is_billed"))


# What a grant takes in.


def test_launches_within_it_are_metered_and_not_billed_and_beyond_it_refused(
    hypervisor: SimulatedHypervisor,
) -> None:
    account, plan = make_account(), make_plan()
    GpuQuota.objects.create(account=account, gpu_model=make_gpu_model(), cards=1)
    ordinary = make_plan()
    trial = granted(account, plan)

    first, second = (launched(account, plan, hypervisor) for _ in range(2))

    assert first.trial == second.trial == trial
    assert [is_billed for _, _, is_billed in intervals(first)] == [False]
    before = list(CardClaim.objects.values())
    with pytest.raises(TrialExceeded, match="allows 2 GPUs of this type at once, 2"):
        launch(make_order(account, plan=plan.slug))
    assert list(CardClaim.objects.values()) == before
    assert RefusedDemand.objects.get().reason == RefusedDemand.Reason.QUOTA
    (refusal,) = quote(account, plan.slug, "us-east", 1).refusals
    assert "trial" in refusal.public_message
    # Other plans are sold as ever, and the trial's cards are none of the quota's.
    paid = launched(account, ordinary, hypervisor)
    assert paid.trial is None
    assert [is_billed for _, _, is_billed in intervals(paid)] == [True]
    assert [use.used for use in gpu_use(account)] == [1]
    with pytest.raises(QuotaExceeded, match="Account Limit"):
        launch(make_order(account, plan=ordinary.slug))
    # A card that is given back can be used again.
    run(hypervisor, delete(first, "user:carol", "carol").pk)
    assert launched(account, plan, hypervisor).trial == trial
    # Nobody else has anything of it.
    assert launched(make_account(), plan, hypervisor).trial is None


def test_a_resize_stays_within_it(hypervisor: SimulatedHypervisor) -> None:
    account = make_account()
    one, two, three = (make_plan(cards=cards) for cards in (1, 2, 3))
    other = make_plan()
    granted(account, one, two, three, cards=2)
    instance = launched(account, one, hypervisor)

    for plan in (three, other):
        with pytest.raises(TrialExceeded):
            resize(instance, ResizeOrder(plan.slug, "user:carol", "carol"))
    run(hypervisor, resize(instance, ResizeOrder(two.slug, "user:carol", "carol")).pk)

    assert [is_billed for _, _, is_billed in intervals(instance)] == [False, False]
    assert audit_usage().differences == []


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"plans": ()}, "Name plans with cards."),
        ({"plans": (0,)}, "Name plans with cards."),
        ({"plans": (3,)}, "None of the plans fits in so few cards."),
        ({"tags": ("employee",)}, EMPLOYEES_PAY_NOTHING),
    ],
)
def test_what_cannot_be_granted_is_refused(
    db: None, fields: dict[str, Any], why: str
) -> None:
    account = make_account(tags=fields.get("tags", ()))
    plans = [make_plan(cards=cards) for cards in fields.get("plans", (1,))]

    with pytest.raises(InstancesError, match=why):
        granted(account, *plans)

    assert not Trial.objects.exists()
    assert not Event.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_creates_at_once_take_no_more_than_it_gives() -> None:
    make_host(cards_per_node=(8,), cores_per_node=8, memory_mib=8192)
    account, plan = make_account(), make_plan()
    granted(account, plan, cards=2)
    once = make_order(account, plan=plan.slug, idempotency_key="click")
    order = make_order(account, plan=plan.slug)

    repeats = in_parallel(4, lambda _: launch(once))
    others = in_parallel(6, lambda _: launch(order))

    assert [type(made) for made in repeats] == [Instance] * 4
    assert Counter(type(made) for made in others) == {Instance: 1, TrialExceeded: 5}
    assert CardClaim.objects.filter(released_at=None).count() == 2


# What the database refuses.


def refused(match: str, sql: str, *values: object) -> None:
    with (
        pytest.raises(IntegrityError, match=match),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql, values)


def test_the_database_refuses_a_second_trial_and_a_longer_one(
    hypervisor: SimulatedHypervisor,
) -> None:
    account, plan = make_account(), make_plan()
    trial = granted(account, plan)
    again = (
        "INSERT INTO instances_trial (account_id, cards, card_hours, starts_at, ends_at,"
        " at_end, grace_hours, reason, granted_by, end_reason, end_remark, ended_by,"
        " ended_at, delete_at)"
        " SELECT account_id, cards, card_hours, starts_at + %s::interval,"
        " ends_at + %s::interval, 'bill', 24, '', '', {}, '', '', {}, NULL"
        " FROM instances_trial"
    )
    # Open beside an open one, however much later; ended, but within it.
    later = again.format("''", "NULL")
    refused("trial_one_open_per_account", later, "30 days", "30 days")
    within = again.format("'over'", "ends_at - interval '1 day'")
    refused("trial_without_overlap", within, "0", "0")
    change = "UPDATE instances_trial SET "
    for column in ("ends_at = ends_at + interval '1 s'", "cards = 9", "card_hours = 9"):
        refused("trial_only_ends|can only be warned", change + column)
    refused("can only be warned", change + "at_end = 'bill'")
    refused("can only be warned", "DELETE FROM instances_trial")
    over = "end_reason = 'over', delete_at = now(), ended_at = "
    refused("trial_ends_in_its_time", f"{change}{over} ends_at + interval '1 s'")
    refused("trial_end_is_told_whole", f"{change} ended_at = ends_at")
    cut_short(trial.pk, "user:staff", "enough")
    refused("can only be warned", change + "ended_at = NULL, end_reason = ''")
    refused("can only be warned", change + "warned_s = 1")


def test_the_database_bills_nothing_that_a_trial_gives(
    hypervisor: SimulatedHypervisor,
) -> None:
    account, plan = make_account(), make_plan()
    granted(account, plan, at_end=AfterTrial.BILL)
    instance = launched(account, plan, hypervisor)
    other = launched(make_account(), plan, hypervisor)
    bill = (
        "INSERT INTO instances_usageinterval (instance_id, plan_id, starts_at,"
        " price_hourly, price_monthly, is_billed) SELECT instance_id, plan_id, now(),"
        " 1, 1, true FROM instances_usageinterval WHERE instance_id = %s"
    )
    refused("its trial gives that", bill, instance.pk)
    move = "UPDATE instances_instance SET trial_id = %s WHERE id = %s"
    refused("for ever", move, None, instance.pk)
    refused("another account", move, instance.trial_id, other.pk)


# Its end, by a clock that is the database's, too.


def test_a_worker_that_was_down_bills_from_the_end_itself(
    clock: SimulatedClock, hypervisor: SimulatedHypervisor
) -> None:
    account, plan = make_account(), make_plan()
    trial = granted(account, plan, at_end=AfterTrial.BILL)
    stays, goes = (launched(account, plan, hypervisor) for _ in range(2))
    clock.sleep(7 * DAY + 10 * HOUR)

    # One is deleted before anybody has noticed the end.
    run(hypervisor, delete(goes, "user:carol", "carol").pk)
    clock.sleep(HOUR)
    assert look_after() == []
    assert look_after() == []

    trial.refresh_from_db()
    assert (trial.ended_at, trial.end_reason) == (trial.ends_at, "over")
    assert trial.ends_at - trial.starts_at == timedelta(days=7)
    end = trial.ends_at
    (_, first_end, first), (begin, still_open, then) = intervals(stays)
    assert (first_end, first, begin, still_open, then) == (end, False, end, None, True)
    (_, first_end, first), (begin, gone_at, then) = intervals(goes)
    assert (first_end, first, begin, then) == (end, False, end, True)
    assert gone_at is not None
    assert timedelta(hours=10) <= gone_at - end < timedelta(hours=11)
    assert told(trial) == ["granted", "ended"]
    assert audit_usage().differences == []
    # 10 hours of the one and 11 of the other, begun ones too; a month's end begins one more.
    months = (Month.of(end), Month.of(end).next)
    billed = sum(u.billed for month in months for u in totals(usage_of(month, account)))
    assert Decimal("1.5") * (11 + 12) <= billed <= Decimal("1.5") * (11 + 12 + 2)
    # What is launched from then on is an ordinary one.
    assert launched(account, plan, hypervisor).trial is None


def test_a_month_is_invoiced_from_an_end_that_no_worker_saw(
    clock: SimulatedClock, hypervisor: SimulatedHypervisor
) -> None:
    account, plan = make_account(), make_plan()
    trial = granted(account, plan, at_end=AfterTrial.BILL)
    launched(account, plan, hypervisor)
    clock.sleep(60 * DAY)

    assert make_invoices() >= 1
    look_after()

    first = InvoiceItem.objects.order_by("pk").first()
    assert first is not None
    assert first.starts_at == trial.ends_at
    assert list(invoice_differences()) == []


def test_whoever_notices_the_end_at_once_it_is_one_end(
    clock: SimulatedClock, hypervisor: SimulatedHypervisor
) -> None:
    account, plan = make_account(), make_plan()
    trial = granted(account, plan, at_end=AfterTrial.BILL, cards=4)
    instances = [launched(account, plan, hypervisor) for _ in range(4)]
    clock.sleep(8 * DAY)
    deletes = [delete(each, "user:carol", "carol").pk for each in instances[:2]]

    done = in_parallel(
        8,
        lambda i: (
            run(hypervisor, deletes[i]) if i < 2 else (look_after, follow_tags)[i % 2]()
        ),
    )

    assert [each for each in done if isinstance(each, Exception)] == []
    follow_tags()
    trial.refresh_from_db()
    end = trial.ends_at
    for instance in instances:
        (_, first_end, first), (begin, _, then) = intervals(instance)
        assert (first_end, first, begin, then) == (end, False, end, True)
    assert told(trial) == ["granted", "ended"]
    assert audit_usage().differences == []


def test_hours_that_are_used_up_end_it_at_that_moment(
    clock: SimulatedClock, hypervisor: SimulatedHypervisor
) -> None:
    account, plan = make_account(), make_plan(cards=2)
    trial = granted(account, plan, at_end=AfterTrial.BILL, card_hours=10)
    instance = launched(account, plan, hypervisor)
    clock.sleep(4.5 * HOUR)
    look_after()
    assert told(trial) == ["granted", "ending"]
    clock.sleep(20 * HOUR)

    # Two cards use ten hours in five, whoever notices that first.
    assert launched(account, plan, hypervisor).trial is None
    follow_tags()
    look_after()

    trial.refresh_from_db()
    end = intervals(instance)[0][0] + timedelta(hours=5)
    assert (trial.ended_at, trial.end_reason) == (end, "used_up")
    follow_tags()
    (_, first_end, _), (begin, _, is_billed) = intervals(instance)
    assert (first_end, begin, is_billed) == (end, end, True)
    assert told(trial) == ["granted", "ending", "ended"]
    assert audit_usage().differences == []


def test_warnings_come_once_each_whatever_the_clock_does(clock: SimulatedClock) -> None:
    trial = granted(make_account(), make_plan())
    expected = ["granted"]

    for seconds, news in (
        (5 * DAY, []),
        (DAY + HOUR, ["ending"]),
        (-2 * DAY, []),
        (2 * DAY + 22.5 * HOUR, ["ending"]),
        (-10 * HOUR, []),
        (-3 * DAY, []),
        (9 * DAY, ["ended"]),
        (-9 * DAY, []),
        (9 * DAY, []),
    ):
        clock.sleep(seconds)
        look_after()
        look_after()
        expected += news
        assert told(trial) == expected

    trial.refresh_from_db()
    assert trial.ended_at == trial.ends_at


def test_a_clock_that_goes_back_over_the_end_neither_takes_it_up_nor_stops_a_release(
    clock: SimulatedClock, hypervisor: SimulatedHypervisor
) -> None:
    account, plan = make_account(), make_plan()
    trial = granted(account, plan, at_end=AfterTrial.BILL)
    instance = launched(account, plan, hypervisor)
    clock.sleep(9 * DAY)
    look_after()
    seen = intervals(instance)
    assert [is_billed for _, _, is_billed in seen] == [False, True]

    clock.sleep(-5 * DAY)
    look_after()
    follow_tags()

    trial.refresh_from_db()
    assert trial.ended_at == trial.ends_at
    assert intervals(instance) == seen
    assert launched(account, plan, hypervisor).trial is None
    # A release before the end that was is a release still, and costs nothing.
    run(hypervisor, delete(instance, "user:carol", "carol").pk)
    assert Instance.objects.get(pk=instance.pk).phase == Phase.DELETED
    (*_, (begin, end, _)) = intervals(instance)
    assert begin == end == trial.ends_at
    assert audit_usage().differences == []
    # The next begins where this one ended, and has its whole length.
    following = granted(account, plan)
    assert following.starts_at == trial.ended_at
    assert following.ends_at - following.starts_at == timedelta(days=7)


def test_a_jump_over_the_end_warns_of_nothing_and_ends_it_where_it_was(
    clock: SimulatedClock, hypervisor: SimulatedHypervisor
) -> None:
    trial = granted(make_account(), make_plan(), days=1)
    clock.sleep(400 * DAY)
    look_after()

    clock.sleep(-400 * DAY)
    look_after()

    trial.refresh_from_db()
    assert trial.ended_at == trial.ends_at
    assert told(trial) == ["granted", "ended"]


# What is left after it.


def test_what_is_left_is_stopped_and_deleted_after_its_grace(
    clock: SimulatedClock, hypervisor: SimulatedHypervisor
) -> None:
    account, plan = make_account(), make_plan()
    trial = granted(account, plan, grace_hours=24)
    instance = launched(account, plan, hypervisor)
    clock.sleep(7 * DAY)

    (stop,) = look_after()

    trial.refresh_from_db()
    assert trial.ended_at == trial.ends_at
    assert trial.delete_at is not None
    grace = trial.delete_at - trial.ends_at
    assert timedelta(hours=24) < grace < timedelta(hours=25)
    job = Job.objects.get(pk=stop)
    assert (job.kind, job.actor) == (JobKind.SHUTDOWN, "system:trials")
    assert look_after() == []
    run(hypervisor, stop)
    instance.refresh_from_db()
    assert instance.desired == Desired.OFF

    clock.sleep(23 * HOUR)
    assert look_after() == []
    clock.sleep(2 * HOUR)
    (gone,) = look_after()

    assert Job.objects.get(pk=gone).kind == JobKind.DELETE
    assert look_after() == []
    run(hypervisor, gone)
    assert Instance.objects.get().phase == Phase.DELETED
    assert not CardClaim.objects.filter(released_at=None).exists()
    assert [is_billed for _, _, is_billed in intervals(instance)] == [False]
    assert audit_usage().differences == []
    assert told(trial) == ["granted", "ended"]


def test_what_is_left_cannot_be_used_on_even_before_anybody_notices_the_end(
    clock: SimulatedClock, hypervisor: SimulatedHypervisor
) -> None:
    account, plan = make_account(), make_plan()
    granted(account, plan)
    instance = launched(account, plan, hypervisor)
    clock.sleep(7 * DAY)
    jobs = Job.objects.count()

    # It runs already, which is all that a boot asks for.
    assert boot(instance, "user:carol", "carol") is None
    with pytest.raises(TrialOver):
        reboot(instance, "user:carol", "carol")
    with pytest.raises(TrialOver):
        resize(instance, ResizeOrder(make_plan().slug, "user:carol", "carol"))

    assert Job.objects.count() == jobs
    assert Instance.objects.get().phase == Phase.RUNNING
    run(hypervisor, shut_down(instance, "user:carol", "carol").pk)
    with pytest.raises(TrialOver):
        boot(instance, "user:carol", "carol")


def test_what_is_busy_at_the_end_has_its_turn_and_people_are_told_meanwhile(
    clock: SimulatedClock, hypervisor: SimulatedHypervisor
) -> None:
    account, plan = make_account(), make_plan()
    granted(account, plan)
    stopped, launching = (launch(make_order(account, plan=plan.slug)) for _ in range(2))
    run(hypervisor, Job.objects.get(instance=stopped).pk)
    clock.sleep(7 * DAY)
    run(hypervisor, *look_after())
    clock.sleep(HOUR)

    assert look_after() == []

    alert = Alert.objects.get(source="trials", cleared_at=None)
    assert str(launching) in alert.message
    assert str(stopped) not in alert.message
    # The launch ends at last, and the next looks do what was due.
    job = Job.objects.get(instance=launching)
    job.deadline_at = database_clock() + timedelta(hours=1)
    job.save()
    run(hypervisor, job.pk)
    (stop,) = look_after()
    run(hypervisor, stop)
    assert look_after() == []
    assert not Alert.objects.filter(source="trials", cleared_at=None).exists()


def test_a_delete_at_the_end_undoes_a_launch_under_way(
    clock: SimulatedClock, hypervisor: SimulatedHypervisor
) -> None:
    account, plan = make_account(), make_plan()
    granted(account, plan, grace_hours=0)
    instance = launch(make_order(account, plan=plan.slug))
    clock.sleep(7 * DAY)

    (job_id,) = look_after()

    run(hypervisor, Job.objects.get(instance=instance, kind=JobKind.LAUNCH).pk, job_id)
    assert Instance.objects.get().is_ended
    assert not CardClaim.objects.filter(released_at=None).exists()
    assert intervals(instance) == []


@pytest.mark.django_db
def test_a_crash_between_the_end_and_the_rest_is_made_good(
    hypervisor: SimulatedHypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, plan = make_account(), make_plan()
    trial = granted(account, plan, at_end=AfterTrial.BILL)
    instance = launched(account, plan, hypervisor)
    with monkeypatch.context() as crash:

        def fail(_accounts: object) -> int:
            raise ConnectionError

        crash.setattr("instances.actions.trials.follow_tags", fail)
        with pytest.raises(ConnectionError):
            cut_short(trial.pk, "user:staff", "enough")
    trial.refresh_from_db()
    assert [is_billed for _, _, is_billed in intervals(instance)] == [False]

    look_after()

    (_, end, _), (begin, _, is_billed) = intervals(instance)
    assert (end, begin, is_billed) == (trial.ended_at, trial.ended_at, True)


@pytest.mark.django_db
def test_staff_cut_it_short_once_and_may_have_what_is_there_billed(
    hypervisor: SimulatedHypervisor,
) -> None:
    account, plan = make_account(), make_plan()
    trial = granted(account, plan, at_end=AfterTrial.DELETE)
    instance = launched(account, plan, hypervisor)

    cut_short(trial.pk, "user:staff", "they buy it", AfterTrial.BILL)

    trial.refresh_from_db()
    assert (trial.end_reason, trial.ended_by, trial.end_remark) == (
        "cut",
        "user:staff",
        "they buy it",
    )
    (_, end, _), (begin, _, is_billed) = intervals(instance)
    assert (end, begin, is_billed) == (trial.ended_at, trial.ended_at, True)
    assert look_after() == []
    with pytest.raises(TrialEnded):
        cut_short(trial.pk, "user:staff", "again")
    assert told(trial) == ["granted", "ended"]
    # It counts in the quota from now on, as it is an ordinary instance.
    assert [use.used for use in gpu_use(account)] == [1]
    assert granted(account, plan).starts_at >= begin


@pytest.mark.django_db
def test_one_that_cannot_be_looked_after_keeps_no_other_waiting(
    hypervisor: SimulatedHypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan()
    trials = [granted(make_account(), plan, days=2, cards=1) for _ in range(2)]
    first = trials[0].pk
    monkeypatch.setattr(trial_watch, "WARNINGS_S", (2 * DAY - 1,))

    def fail_for_first(trial_id: int, now: datetime) -> Trial:
        if trial_id == first:
            raise IntegrityError
        return settled(trial_id, now)

    monkeypatch.setattr(
        trial_watch, "clock", lambda: database_clock() + timedelta(days=1)
    )
    monkeypatch.setattr(trial_watch, "settled", fail_for_first)
    look_after()

    assert [told(trial) for trial in trials] == [["granted"], ["granted", "ending"]]


@pytest.mark.django_db
def test_a_look_costs_little_while_there_is_nothing(
    django_assert_max_num_queries: Any,
) -> None:
    with django_assert_max_num_queries(6):
        assert trial_watch.look_after() == []
