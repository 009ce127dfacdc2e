"""That the reports of a week were mailed, or why not yet."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class ReportMail(models.Model):
    """One row a week. not_before: nobody else tries until then; a try may die.

    week: its Monday. problem: what stopped the last try.
    """

    week = models.DateField(unique=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    not_before = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True, blank=True)
    problem = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-week"]
        constraints = [
            models.CheckConstraint(
                condition=Q(week__iso_week_day=1), name="report_mail_week_is_a_monday"
            )
        ]

    def __str__(self) -> str:
        return f"week of {self.week:%Y-%m-%d}"
