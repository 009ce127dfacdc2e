"""What a product must reach before it is launched, and who decided on which report of it."""

from django.db import models
from django.db.models import F, Func, Q
from django.utils.translation import gettext_lazy as _

from flags.models.flag import Flag


class ReadinessLine(models.TextChoices):
    """What is measured of a product; instances.reports.readiness says how."""

    LAUNCHES = "launches", _("launches")
    SUCCESS = "success", _("launches that succeed, %")
    TIME_P50 = "time_p50", _("time to running, p50, s")
    TIME_P95 = "time_p95", _("time to running, p95, s")
    FAILURES = "failures", _("failed launches")
    CARD_FAULTS = "card_faults", _("card faults")
    CHECK_FAILURES = "check_failures", _("failed scrubs and tests of cards")
    DISCREPANCIES = "discrepancies", _("discrepancies")
    REFUSALS = "refusals", _("refused demand")
    HOURS = "hours", _("hours run")
    ACCOUNTS = "accounts", _("distinct accounts")
    FEEDBACK = "feedback", _("would use it again, %")


# The bound is the least that is green; of the others it is the most.
AT_LEAST = frozenset(
    {
        ReadinessLine.LAUNCHES,
        ReadinessLine.SUCCESS,
        ReadinessLine.HOURS,
        ReadinessLine.ACCOUNTS,
        ReadinessLine.FEEDBACK,
    }
)


class LineStatus(models.TextChoices):
    GREEN = "green", _("green")
    RED = "red", _("red")
    NO_DATA = "no data", _("no data")


class Verdict(models.TextChoices):
    GO = "go", _("go")
    NO_GO = "no_go", _("no-go")


class ReadinessThreshold(models.Model):
    """What is green. Without a flag: of every flag that has no row of its own."""

    flag = models.ForeignKey(
        Flag,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="thresholds",
        help_text=_("Empty: for every flag that has none of its own."),
    )
    line = models.CharField(max_length=16, choices=ReadinessLine)
    bound = models.DecimalField(
        max_digits=12,
        decimal_places=2,
        help_text=_(
            "Green from here up, of launches, success, hours, accounts and feedback; up to "
            "here, of all else."
        ),
    )

    class Meta:
        ordering = [F("flag").asc(nulls_first=True), "line"]
        constraints = [
            models.UniqueConstraint(
                fields=["flag", "line"],
                nulls_distinct=False,
                name="readiness_threshold_once",
                violation_error_message=_("There is one already: change that."),
            ),
            models.CheckConstraint(
                condition=Q(bound__gte=0),
                name="readiness_threshold_not_negative",
                violation_error_message=_("A threshold is 0 or more."),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_line_display()}: {self.bound.normalize():f}"


def _in_snapshot(path: str) -> Q:
    return Q(
        Func(
            F("snapshot"),
            function="jsonb_path_exists",
            template=f"%(function)s(%(expressions)s, '{path}')",
            output_field=models.BooleanField(),
        )
    )


class LaunchDecision(models.Model):
    """That a person said go or no-go to a report as it was then: the snapshot.

    snapshot: instances.reports.readiness.Readiness.as_json(). Rows are only added
    (migration readiness).
    """

    flag = models.ForeignKey(Flag, on_delete=models.PROTECT, related_name="decisions")
    verdict = models.CharField(_("decision"), max_length=5, choices=Verdict)
    by = models.CharField(max_length=150, help_text="user:NAME")
    at = models.DateTimeField()
    remark = models.CharField(max_length=1000, blank=True)
    snapshot = models.JSONField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=_in_snapshot("$.lines[*].status"),
                name="launch_decision_is_on_a_report",
            ),
            models.CheckConstraint(
                condition=Q(verdict=Verdict.NO_GO)
                | ~Q(remark="")
                | ~_in_snapshot('$.lines[*] ? (@.status != "green")'),
                name="launch_decision_not_green_has_a_remark",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.flag}: {self.get_verdict_display()}"

    @property
    def not_green(self) -> frozenset[str]:
        """The report's lines that were not green, by name."""
        lines = self.snapshot["lines"]
        return frozenset(
            line["name"] for line in lines if line["status"] != LineStatus.GREEN
        )
