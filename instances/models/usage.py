"""How long an instance had which plan, at what price: what is billed, and nothing else."""

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.db import models
from django.db.models import F, Q

from instances.models.catalogue import Plan
from instances.models.instance import Instance
from instances.models.time_range import TimeRange


class UsageInterval(models.Model):
    """ends_at: when the claims were released, or the next interval begins; None: it goes on.

    The prices are the plan's at the start. The database refuses a gap between the
    intervals of an instance, a change but the one end, and an open one of an instance
    that is over (migration usage).
    """

    instance = models.ForeignKey(
        Instance, on_delete=models.PROTECT, related_name="usage"
    )
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT)
    starts_at = models.DateTimeField("from")
    ends_at = models.DateTimeField("to", null=True, blank=True)
    price_hourly = models.DecimalField("$ an hour", max_digits=10, decimal_places=4)
    price_monthly = models.DecimalField("$ a month", max_digits=10, decimal_places=2)
    is_billed = models.BooleanField(
        "billed",
        help_text="No: of an employee's account, or of a trial, when it began.",
    )

    class Meta:
        ordering = ["-starts_at", "-id"]
        permissions = [("view_reports", "Can read the reports")]
        constraints = [
            ExclusionConstraint(
                name="usage_without_overlap",
                expressions=[
                    ("instance", RangeOperators.EQUAL),
                    (TimeRange("starts_at", "ends_at"), RangeOperators.OVERLAPS),
                ],
            ),
            models.CheckConstraint(
                condition=Q(ends_at=None) | Q(ends_at__gte=F("starts_at")),
                name="usage_ends_after_start",
            ),
        ]
        indexes = [
            models.Index(fields=["ends_at", "starts_at"], name="usage_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.plan} for {self.instance}"
