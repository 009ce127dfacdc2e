"""Usage: from running to the release of the claims, once, and as the claims say."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from instances import lifecycle
from instances.actions.delete import delete
from instances.actions.force_release import ReleaseOrder, force_release
from instances.actions.launch import launch
from instances.actions.power import boot
from instances.choices import Phase
from instances.jobs import runner
from instances.models import (
    Account,
    Instance,
    Job,
    Plan,
    RegionPrice,
    UsageInterval,
)
from instances.price import Month
from instances.usage import follow_tags
from instances.usage_audit import audit_usage
from instances.usage_report import totals, usage_of
from inventory.choices import HostPolicy
from inventory.exceptions import HypervisorError
from inventory.models import Host, NodeClaim, Region
from tests.builders import make_account, make_host, make_order, make_plan
from tests.instances.test_card_checks import work
from tests.simulated import Faulty, SimulatedHypervisor

pytestmark = pytest.mark.django_db


@pytest.fixture
def hypervisor() -> SimulatedHypervisor:
    make_host()
    return SimulatedHypervisor()


def launched(
    hypervisor: object, account: Account | None = None, **fields: object
) -> Instance:
    instance = launch(make_order(account, **fields))
    work([Job.objects.get(instance=instance).pk], hypervisor)
    instance.refresh_from_db()
    return instance


def deleted(instance: Instance, hypervisor: object) -> None:
    work([delete(instance, "user:tester", "tester").pk], hypervisor)
    instance.refresh_from_db()


def released_at(instance: Instance) -> object:
    return NodeClaim.objects.get(consumer=instance.uuid).released_at


@contextmanager
def no_guard() -> Iterator[None]:
    """Switch the guard of usage off, as their owner could."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(
            "ALTER TABLE instances_usageinterval DISABLE TRIGGER usage_course"
        )
        yield
        cursor.execute(
            "ALTER TABLE instances_usageinterval ENABLE TRIGGER usage_course"
        )
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def test_usage_begins_when_it_is_ready_and_ends_with_the_claims(
    hypervisor: SimulatedHypervisor,
) -> None:
    instance = launched(hypervisor)

    interval = UsageInterval.objects.get()
    assert (interval.instance, interval.plan) == (instance, instance.plan)
    assert (interval.starts_at, interval.ends_at) == (instance.ready_at, None)
    assert interval.price_hourly == Decimal("1.5")
    assert interval.price_monthly == Decimal(1000)
    assert interval.is_billed
    assert audit_usage().differences == []

    deleted(instance, hypervisor)

    interval.refresh_from_db()
    assert interval.ends_at == released_at(instance)
    assert UsageInterval.objects.count() == 1
    assert audit_usage().differences == []


def test_region_with_prices_of_its_own_bills_those(
    hypervisor: SimulatedHypervisor,
) -> None:
    order = make_order()
    RegionPrice.objects.create(
        plan=Plan.objects.get(slug=order.plan),
        region=Region.objects.get(slug=order.region),
        price_hourly=Decimal(2),
        price_monthly=Decimal(1200),
    )

    instance = launch(order)
    work([Job.objects.get(instance=instance).pk], hypervisor)

    interval = UsageInterval.objects.get()
    assert interval.price_hourly == Decimal(2)
    assert interval.price_monthly == Decimal(1200)


def test_launch_left_off_costs_from_when_it_is_ready(
    hypervisor: SimulatedHypervisor,
) -> None:
    instance = launched(hypervisor, booted=False)

    assert instance.phase == Phase.OFFLINE
    (interval,) = UsageInterval.objects.all()
    assert (interval.starts_at, interval.ends_at) == (instance.ready_at, None)
    boot(instance, "user:tester", "tester")
    work([Job.objects.latest("pk").pk], hypervisor)
    assert UsageInterval.objects.count() == 1
    assert audit_usage().differences == []


def test_launch_that_fails_costs_nothing(hypervisor: SimulatedHypervisor) -> None:
    def refuses(verb: str) -> None:
        if verb == "start_domain":
            raise HypervisorError("no")

    instance = launched(Faulty(hypervisor, refuses))

    assert instance.phase == Phase.FAILED
    assert NodeClaim.objects.filter(released_at=None).count() == 0
    assert UsageInterval.objects.count() == 0
    assert audit_usage().differences == []


def test_machine_that_is_not_yet_released_goes_on_costing(
    hypervisor: SimulatedHypervisor,
) -> None:
    instance = launched(hypervisor)

    def stays(verb: str) -> None:
        if verb == "undefine_domain":
            raise HypervisorError("no")

    deleted(instance, Faulty(hypervisor, stays))

    assert instance.phase == Phase.DELETING
    assert UsageInterval.objects.get().ends_at is None
    Job.objects.update(not_before=None)
    work([Job.objects.latest("pk").pk], hypervisor)
    assert UsageInterval.objects.get().ends_at == released_at(instance)
    assert audit_usage().differences == []


def test_forced_release_ends_usage_with_the_claims(
    hypervisor: SimulatedHypervisor,
) -> None:
    instance = launched(hypervisor)
    Host.objects.update(policy=HostPolicy.MAINTENANCE)

    def silent(_: str) -> None:
        raise HypervisorError("no route to host")

    order = ReleaseOrder(instance.uuid, "user:ann", "ann", "lost", "burnt")
    force_release(order, lambda _uri: Faulty(hypervisor, silent))  # type: ignore[arg-type,return-value]

    assert UsageInterval.objects.get().ends_at == released_at(instance)
    assert audit_usage().differences == []


def test_later_prices_and_tags_leave_what_began_as_it_was(
    hypervisor: SimulatedHypervisor,
) -> None:
    employee = make_account(tags=("employee",))
    launched(hypervisor, employee)
    Plan.objects.update(price_hourly="99", price_monthly="9999")
    Account.objects.update(tags=[])

    interval = UsageInterval.objects.get()
    assert interval.price_hourly == Decimal("1.5")
    assert not interval.is_billed


def rejected(name: str, change: Callable[[], object]) -> None:
    def checked() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            change()
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    with pytest.raises(IntegrityError, match=name):
        checked()


def copy_of(interval: UsageInterval, **fields: object) -> UsageInterval:
    values = UsageInterval.objects.filter(pk=interval.pk).values().get()
    return UsageInterval(**{**values, "id": None, **fields})


def test_database_refuses_overlap_gap_change_and_a_second_end(
    hypervisor: SimulatedHypervisor,
) -> None:
    instance = launched(hypervisor)
    interval = UsageInterval.objects.get()
    rows = UsageInterval.objects.filter(pk=interval.pk)
    begin = interval.starts_at
    later = begin + timedelta(hours=1)

    rejected("usage_without_overlap", copy_of(interval).save)
    rejected(
        "usage_ends_after_start", lambda: rows.update(ends_at=begin - later + begin)
    )
    rejected("can only end", lambda: rows.update(price_hourly="0"))
    rejected("can only end", rows.delete)
    rejected(
        "still billed",
        lambda: (
            lifecycle.advance(instance.pk, Phase.DELETING)
            and lifecycle.advance(instance.pk, Phase.DELETED)
        ),
    )
    rows.update(ends_at=later)
    rejected("can only end", lambda: rows.update(ends_at=later + timedelta(hours=1)))
    gap = copy_of(interval, starts_at=later + timedelta(seconds=1), ends_at=None)
    rejected("cannot go on", gap.save)
    copy_of(interval, starts_at=later, ends_at=None).save()
    assert UsageInterval.objects.count() == 2


def test_what_is_over_is_billed_no_more(hypervisor: SimulatedHypervisor) -> None:
    instance = launched(hypervisor)
    deleted(instance, hypervisor)
    ended = UsageInterval.objects.get()

    rejected("still billed", copy_of(ended, starts_at=ended.ends_at, ends_at=None).save)


@pytest.mark.parametrize(
    ("fields", "about"),
    [
        ({"starts_at": timezone.now() - timedelta(days=1)}, "begin"),
        ({"ends_at": timezone.now() + timedelta(days=1)}, "end"),
    ],
)
def test_audit_finds_what_disagrees(
    fields: dict[str, object], about: str, hypervisor: SimulatedHypervisor
) -> None:
    instance = launched(hypervisor)
    with no_guard():
        UsageInterval.objects.update(**fields)

    found = audit_usage().differences

    assert about in [each.about for each in found]
    assert {each.instance_id for each in found} == {instance.pk}


def test_audit_finds_what_is_not_billed(hypervisor: SimulatedHypervisor) -> None:
    launched(hypervisor)
    with no_guard():
        UsageInterval.objects.all().delete()

    assert [each.about for each in audit_usage().differences] == ["begin"]


@pytest.mark.django_db(transaction=True)
def test_command_says_whether_usage_agrees(hypervisor: SimulatedHypervisor) -> None:
    instance = launched(hypervisor)
    out = StringIO()
    call_command("verify_usage", stdout=out)
    assert out.getvalue() == "Usage agrees: 1 instances, 1 intervals\n"

    with no_guard():
        UsageInterval.objects.update(ends_at=timezone.now())
    told = StringIO()
    with pytest.raises(CommandError, match="Usage differs 1 times"):
        call_command("verify_usage", stderr=told)
    assert f"instance {instance.pk}, end: usage says 20" in told.getvalue()


def test_migration_gives_what_ran_before_its_usage(
    hypervisor: SimulatedHypervisor,
) -> None:
    employee = make_account(tags=("employee",))
    plan = make_plan(cards=1).slug
    gone = launched(hypervisor, plan=plan)
    deleted(gone, hypervisor)
    launched(hypervisor, employee, plan=plan)
    launch(make_order(plan=plan))
    before = list(UsageInterval.objects.order_by("instance").values())
    migration = import_module("instances.migrations.0013_usage_guards")

    with no_guard(), connection.cursor() as cursor:
        UsageInterval.objects.all().delete()
        cursor.execute(migration.FROM_CLAIMS)

    after = list(UsageInterval.objects.order_by("instance").values())
    for row in [*before, *after]:
        del row["id"]
    assert after == before
    assert audit_usage().differences == []


def test_report_adds_up_and_keeps_employees_apart(
    hypervisor: SimulatedHypervisor,
) -> None:
    plan = make_plan(cards=1)
    paying = make_account("Paying")
    lab = make_account("Lab", tags=("employee",))
    launched(hypervisor, paying, plan=plan.slug)
    launched(hypervisor, paying, plan=plan.slug)
    launched(hypervisor, lab, plan=plan.slug)
    begin = UsageInterval.objects.earliest("starts_at").starts_at
    now = begin + timedelta(minutes=30)
    month = Month.of(begin)

    found = [
        (each.account.name, each.instances, each.hours, each.billed, each.unbilled)
        for each in totals(usage_of(month, now=now))
    ]

    assert found == [
        ("Lab", 1, 1, Decimal(), Decimal("1.50")),
        ("Paying", 2, 2, Decimal("3.00"), Decimal()),
    ]
    assert usage_of(month.previous, now=now) == []
    assert usage_of(month.next, now=now) == []
    (next_month, *_) = usage_of(month.next, lab, now=month.next.ends)
    assert (next_month.starts_at, next_month.ends_at) == (
        month.next.begins,
        month.next.ends,
    )
    assert next_month.charge.amount == Decimal("1000.00")
    assert usage_of(month, lab, now=now)[0].ends_at is None


def test_redelivered_job_begins_usage_once(hypervisor: SimulatedHypervisor) -> None:
    instance = launched(hypervisor)
    assert runner.run(Job.objects.get(instance=instance).pk) == []
    assert UsageInterval.objects.count() == 1


def test_what_runs_is_billed_as_the_accounts_tag_says_at_the_time(
    hypervisor: SimulatedHypervisor,
) -> None:
    account, other = make_account(), make_account(tags=("employee",))
    instance = launched(hypervisor, account)
    launched(hypervisor, other, plan=Plan.objects.get().slug)
    Plan.objects.update(price_hourly=9)
    assert follow_tags() == 0

    Account.objects.filter(pk=account.pk).update(tags=["employee"])
    assert (follow_tags([other.pk]), follow_tags(), follow_tags()) == (0, 1, 0)
    Account.objects.filter(pk=account.pk).update(tags=[])
    assert follow_tags([account.pk]) == 1
    deleted(instance, hypervisor)

    marked = UsageInterval.objects.filter(instance=instance).order_by("starts_at")
    assert [(row.is_billed, row.price_hourly) for row in marked] == [
        *((True, Decimal("1.5")), (False, Decimal("1.5")), (True, Decimal("1.5"))),
    ]
    first, second, third = marked
    assert (first.ends_at, second.ends_at) == (second.starts_at, third.starts_at)
    assert third.ends_at == released_at(instance)
    (of_account, _) = totals(usage_of(Month.of(timezone.now())))
    assert (of_account.billed, of_account.unbilled) == (Decimal("1.5"), Decimal("1.5"))
    assert audit_usage().differences == []
