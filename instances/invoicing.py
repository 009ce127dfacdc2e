"""Make the invoices of months that are over, from usage; the only writer of invoices."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby

from django.db import transaction
from django.db.models import Max, Min

from instances.models import Invoice, InvoicedMonth, InvoiceItem, UsageInterval
from instances.price import Month
from instances.usage import end_due_trials
from instances.usage_report import UsageLine, totals, usage_of
from inventory.ledger import clock

# Every transaction that began or ended usage within the month has committed by then.
_SETTLED_AFTER = timedelta(hours=1)


def make_invoices(now: datetime | None = None) -> int:
    """Invoice each month that is over and not yet invoiced, oldest first; return how many.

    Months before the first run are among them. May run again, and beside itself.
    """
    # A trial that nobody has seen end is billed from an end that may be in a month before.
    end_due_trials()
    over = Month.of((now or clock()) - _SETTLED_AFTER).previous
    done = 0
    while (month := _next()) is not None and month <= over:
        done += _invoice(month)
    return done


def _next() -> Month | None:
    """Return the first month without its invoices; None while nothing was ever used."""
    last = InvoicedMonth.objects.aggregate(at=Max("begins"))["at"]
    if last is not None:
        return Month(last.year, last.month).next
    first = UsageInterval.objects.aggregate(at=Min("starts_at"))["at"]
    return None if first is None else Month.of(first)


@transaction.atomic
def _invoice(month: Month) -> int:
    """Make all invoices of the month at once, or find that another worker just has."""
    row, is_ours = InvoicedMonth.objects.get_or_create(begins=month.begins.date())
    if not is_ours:
        return 0
    billed = [line for line in usage_of(month) if line.charge.is_billed]
    by_account = groupby(billed, key=lambda line: line.instance.account_id)
    invoices = [
        _make(account_id, row, month, list(lines)) for account_id, lines in by_account
    ]
    return len(invoices)


def _make(
    account_id: int, row: InvoicedMonth, month: Month, lines: list[UsageLine]
) -> Invoice:
    total = sum(line.charge.amount for line in lines)
    invoice = Invoice.objects.create(
        account_id=account_id,
        month=row,
        label=f"Invoice {month}",
        issued_at=month.ends,
        subtotal=total,
        total=total,
    )
    InvoiceItem.objects.bulk_create(_item(invoice, line) for line in lines)
    return invoice


def _item(invoice: Invoice, line: UsageLine) -> InvoiceItem:
    assert line.ends_at is not None  # noqa: S101 -- the month is over
    return InvoiceItem(
        invoice=invoice,
        instance=line.instance,
        plan=line.plan,
        label=f"{line.plan.label} - {line.instance.label} ({line.instance.pk})",
        region=line.instance.region.slug,
        starts_at=line.starts_at,
        ends_at=line.ends_at,
        hours=line.charge.hours,
        price_hourly=line.price_hourly,
        amount=line.charge.amount,
    )


def invoice_differences() -> Iterator[str]:
    """Yield where an account's invoice is not what its usage comes to; two queries a month.

    The caller's transaction sees one moment.
    """
    for row in InvoicedMonth.objects.order_by("begins"):
        month = Month(row.begins.year, row.begins.month)
        used = {u.account.pk: u.billed for u in totals(usage_of(month)) if u.billed}
        invoiced = dict(row.invoices.values_list("account", "subtotal"))
        for account in sorted(used.keys() | invoiced.keys()):
            usage, invoice = used.get(account, 0), invoiced.get(account, 0)
            if usage != invoice:
                yield (
                    f"account {account}, {month}: "
                    f"usage comes to ${usage}, the invoice to ${invoice}"
                )
