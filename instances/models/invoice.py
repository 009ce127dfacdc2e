"""What an account owes for a closed month, frozen: nothing of it ever changes."""

from django.db import models
from django.db.models import F, Q

from instances.models.account import Account
from instances.models.catalogue import Plan
from instances.models.instance import Instance


class InvoicedMonth(models.Model):
    """A month whose invoices are all there; made in one transaction with them."""

    begins = models.DateField("month", unique=True, help_text="Its first day, UTC.")
    closed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-begins"]
        constraints = [
            models.CheckConstraint(
                condition=Q(begins__day=1), name="invoiced_month_begins_on_the_first"
            )
        ]

    def __str__(self) -> str:
        return f"{self.begins:%Y-%m}"


class Invoice(models.Model):
    """issued_at: the first moment after the month.

    The database refuses a change, a second one of a month, and a subtotal that is not the
    sum of its items (migration invoice guards).
    """

    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="invoices"
    )
    month = models.ForeignKey(
        InvoicedMonth, on_delete=models.PROTECT, related_name="invoices"
    )
    label = models.CharField(max_length=64)
    issued_at = models.DateTimeField()
    subtotal = models.DecimalField("subtotal, $", max_digits=12, decimal_places=2)
    tax = models.DecimalField("tax, $", max_digits=12, decimal_places=2, default=0)
    total = models.DecimalField("total, $", max_digits=12, decimal_places=2)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "month"], name="invoice_one_per_account_and_month"
            ),
            models.CheckConstraint(
                condition=Q(total=F("subtotal") + F("tax")),
                name="invoice_total_is_subtotal_and_tax",
            ),
        ]

    def __str__(self) -> str:
        return self.label


class InvoiceItem(models.Model):
    """An instance's use of one plan in the month, in the words of that time.

    price_hourly: None if it changed within the month. amount: hours by it, at most the
    plan's price of a month.
    """

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="items")
    instance = models.ForeignKey(
        Instance, on_delete=models.PROTECT, related_name="invoice_items"
    )
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT)
    label = models.CharField(max_length=200)
    region = models.CharField(max_length=100)
    starts_at = models.DateTimeField("from")
    ends_at = models.DateTimeField("to")
    hours = models.PositiveIntegerField()
    price_hourly = models.DecimalField(
        "$ an hour", max_digits=10, decimal_places=4, null=True
    )
    amount = models.DecimalField("amount, $", max_digits=12, decimal_places=2)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.label
