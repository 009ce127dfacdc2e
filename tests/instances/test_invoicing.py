"""Invoices: once per account and closed month, as usage says, and never changed."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from threading import Barrier, Thread

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from instances import invoicing
from instances.actions.launch import launch
from instances.invoicing import invoice_differences, make_invoices
from instances.models import (
    Account,
    Instance,
    Invoice,
    InvoicedMonth,
    InvoiceItem,
    UsageInterval,
)
from instances.price import Month
from instances.tasks import make_invoices as task
from instances.usage_report import totals, usage_of
from tests.builders import make_account, make_host, make_invoice, make_order, make_plan
from tests.instances.test_usage import rejected

pytestmark = pytest.mark.django_db
MARCH, APRIL, MAY = (Month(2026, number) for number in (3, 4, 5))
IN_MAY = MAY.begins + timedelta(days=1)


@pytest.fixture
def paying() -> Account:
    make_host(cards_per_node=(0,), cores_per_node=32, memory_mib=1 << 16)
    return make_account("Paying")


def used(
    account: Account,
    begin: datetime,
    end: datetime | None,
    *,
    hourly: str = "1.5",
    is_billed: bool = True,
    instance: Instance | None = None,
) -> Instance:
    """Give the account usage of an instance; its plan costs $ 100 a month at most."""
    instance = instance or launch(make_order(account, plan=make_plan(cards=0).slug))
    UsageInterval.objects.create(
        instance=instance,
        plan=instance.plan,
        starts_at=begin,
        ends_at=end,
        price_hourly=Decimal(hourly),
        price_monthly=Decimal(100),
        is_billed=is_billed,
    )
    return instance


def invoiced() -> list[tuple[str, str, Decimal]]:
    rows = Invoice.objects.order_by("month__begins", "account__name")
    return [(i.account.name, i.label, i.total) for i in rows.select_related("account")]


def test_each_closed_month_is_invoiced_as_usage_says(paying: Account) -> None:
    other = make_account("Other")
    used(paying, MARCH.ends - timedelta(hours=2), MARCH.ends + timedelta(minutes=90))
    used(other, APRIL.begins, None)

    assert make_invoices(IN_MAY) == 3

    assert invoiced() == [
        ("Paying", "Invoice 2026-03", Decimal("3.00")),
        ("Other", "Invoice 2026-04", Decimal("100.00")),
        ("Paying", "Invoice 2026-04", Decimal("3.00")),
    ]
    for month in (MARCH, APRIL):
        report = {t.account.pk: t.billed for t in totals(usage_of(month))}
        rows = Invoice.objects.filter(month__begins=month.begins.date())
        assert dict(rows.values_list("account", "total")) == report
    assert list(invoice_differences()) == []


def test_an_item_says_what_was_used_and_at_what_price(paying: Account) -> None:
    begin = MARCH.begins + timedelta(days=1)
    instance = used(paying, begin, begin + timedelta(minutes=61))
    middle = begin + timedelta(minutes=61)
    used(paying, middle, middle + timedelta(hours=1), hourly="2", instance=instance)
    plain = used(paying, begin, begin + timedelta(hours=1))

    make_invoices(IN_MAY)

    invoice = Invoice.objects.get()
    assert (invoice.issued_at, invoice.tax) == (MARCH.ends, 0)
    first, second = invoice.items.order_by("pk")
    assert (first.instance, first.hours, first.amount) == (instance, 3, Decimal(5))
    assert (first.starts_at, first.ends_at) == (begin, middle + timedelta(hours=1))
    assert first.price_hourly is None
    assert first.label == f"{instance.plan.label} - {instance.label} ({instance.pk})"
    assert first.region == instance.region.slug
    assert (second.instance, second.price_hourly) == (plain, Decimal("1.5"))


def test_a_month_waits_until_it_is_over_and_settled(paying: Account) -> None:
    used(paying, MARCH.begins, None)

    assert make_invoices(MARCH.ends + timedelta(minutes=59)) == 0
    assert InvoicedMonth.objects.count() == 0
    assert make_invoices(MARCH.ends + timedelta(hours=1)) == 1
    assert make_invoices(MARCH.ends + timedelta(hours=2)) == 0
    assert [label for _, label, _ in invoiced()] == ["Invoice 2026-03"]


def test_running_again_changes_nothing_and_goes_on_where_it_was(
    paying: Account,
) -> None:
    used(paying, MARCH.begins, None)
    make_invoices(APRIL.begins + timedelta(days=3))
    before = list(Invoice.objects.values())

    assert make_invoices(APRIL.begins + timedelta(days=4)) == 0
    assert list(Invoice.objects.values()) == before
    assert make_invoices(IN_MAY) == 1


def test_what_employees_used_is_not_invoiced(paying: Account) -> None:
    begin = MARCH.begins
    used(make_account("Lab"), begin, begin + timedelta(hours=5), is_billed=False)
    half = used(paying, begin, begin + timedelta(hours=1), is_billed=False)
    used(paying, begin + timedelta(hours=1), MARCH.ends, instance=half)

    make_invoices(IN_MAY)

    assert invoiced() == [("Paying", "Invoice 2026-03", Decimal("100.00"))]
    assert InvoiceItem.objects.count() == 1
    assert list(invoice_differences()) == []


def test_without_usage_there_is_nothing_to_close(db: None) -> None:
    assert task() == 0
    assert InvoicedMonth.objects.count() == 0


def test_month_without_usage_is_closed_without_invoices(paying: Account) -> None:
    used(paying, MARCH.begins, MARCH.begins + timedelta(hours=1))

    assert make_invoices(IN_MAY) == 1

    assert [str(m) for m in InvoicedMonth.objects.order_by("begins")] == [
        "2026-03",
        "2026-04",
    ]


def test_death_within_a_month_leaves_nothing_of_it(
    paying: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    used(paying, MARCH.begins, None)
    used(make_account("Other"), MARCH.begins, None)
    real, made = invoicing._make, []

    def dies(*arguments: object) -> Invoice:
        if made:
            raise SystemExit
        made.append(real(*arguments))  # type: ignore[arg-type]
        return made[0]

    monkeypatch.setattr(invoicing, "_make", dies)
    with pytest.raises(SystemExit):
        make_invoices(IN_MAY)

    assert Invoice.objects.count() == InvoicedMonth.objects.count() == 0
    monkeypatch.undo()
    assert make_invoices(IN_MAY) == 4


def test_database_refuses_to_change_an_invoice(paying: Account) -> None:
    used(paying, MARCH.begins, MARCH.ends)
    make_invoices(IN_MAY)
    invoice, item = Invoice.objects.get(), InvoiceItem.objects.get()
    rows, items = Invoice.objects.all(), InvoiceItem.objects.all()

    rejected("never change", lambda: rows.update(tax=1, total=101))
    rejected("never change", lambda: items.update(amount=1))
    rejected("never change", items.delete)
    rejected("never change", lambda: InvoicedMonth.objects.update(begins="2026-02-01"))
    rejected("invoice_one_per_account", Invoice(**_fields(invoice)).save)
    rejected("more than its items", InvoiceItem(**_fields(item)).save)
    other = {**_fields(invoice), "account_id": make_account().pk}
    rejected("more than its items", Invoice(**other).save)
    rejected("invoice_total_is", Invoice(**{**other, "tax": 1}).save)
    assert Invoice.objects.get() == invoice


def _fields(row: Invoice | InvoiceItem) -> dict[str, object]:
    values = type(row).objects.filter(pk=row.pk).values().get()
    return {name: value for name, value in values.items() if name != "id"}


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_make_one_invoice(paying: Account) -> None:
    used(paying, MARCH.begins, MARCH.ends)
    barrier, done = Barrier(2), []

    def work() -> None:
        barrier.wait()
        try:
            done.append(make_invoices(datetime(2026, 4, 2, tzinfo=UTC)))
        finally:
            connection.close()

    workers = [Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert sorted(done) == [0, 1]
    assert Invoice.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_verify_usage_tells_of_an_invoice_that_differs(paying: Account) -> None:
    instance = launch(make_order(paying, plan=make_plan(cards=0).slug))
    call_command("verify_usage", stdout=StringIO())
    make_invoice(paying, instance)
    told = StringIO()

    with pytest.raises(CommandError, match="Usage differs 1 times"):
        call_command("verify_usage", stderr=told)

    said = f"account {paying.pk}, 2026-01: usage comes to $0, the invoice to $1.00"
    assert said in told.getvalue()
