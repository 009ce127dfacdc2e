"""Betas, in which accounts have a flag opened by themselves."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from flags.models.flag import Flag

GREENLIGHT_TAG = "greenlight"


class Beta(models.Model):
    """A product that accounts may try of their own accord, from a day and to a day.

    The flag is open for those that enrolled while the beta goes on, and shut by `everyone`
    no and by the kill as for anybody.
    """

    slug = models.SlugField("id", max_length=50, unique=True)
    label = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    more_info = models.URLField(blank=True, help_text="A page that says more.")
    flag = models.ForeignKey(
        Flag,
        on_delete=models.PROTECT,
        related_name="betas",
        help_text="Opened for each account that enrols.",
    )
    greenlight_only = models.BooleanField(
        default=False,
        help_text=f"Only accounts with the tag {GREENLIGHT_TAG} see it and may enrol.",
    )
    account_tags = ArrayField(
        models.CharField(max_length=50),
        default=list,
        db_default=[],
        blank=True,
        help_text="Only accounts with one of these tags, such as employee, see it, may "
        "enrol and have the flag by it. Empty: any account.",
    )
    started_at = models.DateTimeField(
        "starts", help_text="Nobody sees it or has its flag before."
    )
    ended_at = models.DateTimeField(
        "ends",
        null=True,
        blank=True,
        help_text="From then on its flag is shut again; what runs goes on.",
    )

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(
                condition=Q(ended_at=None) | Q(ended_at__gt=F("started_at")),
                name="beta_ends_after_its_start",
                violation_error_message="A beta ends after its start.",
            )
        ]

    def __str__(self) -> str:
        return self.label


class BetaEnrolment(models.Model):
    """That an account has enrolled, and who did it; to take it back is to delete it."""

    beta = models.ForeignKey(Beta, on_delete=models.PROTECT, related_name="enrolments")
    account = models.ForeignKey(
        "instances.Account", on_delete=models.CASCADE, related_name="beta_enrolments"
    )
    enrolled_at = models.DateTimeField(auto_now_add=True)
    enrolled_by = models.CharField(max_length=150, help_text="user:NAME")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "beta"], name="beta_enrolment_once_per_account"
            )
        ]

    def __str__(self) -> str:
        return f"{self.account} in {self.beta}"
