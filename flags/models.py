"""Feature flags, and the betas in which accounts have them opened by themselves."""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from waffle.models import AbstractUserFlag

GREENLIGHT_TAG = "greenlight"


class Flag(AbstractUserFlag):
    """`everyone` yes: launched; no: off for all, whoever is listed; unknown: by list.

    waffle's own ways in (staff, superusers, percent, language, the `testing` cookie that
    any visitor can set) are refused by the database, so that a shut flag is shut. Its
    `users` and `groups` stay unused: waffle's signals want them to exist.
    """

    superusers = models.BooleanField(default=False, editable=False)
    accounts = models.ManyToManyField(
        "instances.Account",
        blank=True,
        related_name="flags",
        help_text="On for these accounts.",
    )
    account_tags = ArrayField(
        models.CharField(max_length=50),
        default=list,
        blank=True,
        help_text="On for accounts with one of these tags, such as employee.",
    )

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(testing=False)
                & Q(superusers=False)
                & Q(staff=False)
                & Q(authenticated=False)
                & Q(rollout=False)
                & Q(percent=None)
                & Q(languages=""),
                name="flag_only_accounts_and_tags",
            )
        ]

    def __str__(self) -> str:
        return str(self.name)

    def lists(self) -> Q:
        """Return the condition on accounts that `everyone` being unknown leaves it to.

        The same as availability.IS_OPEN says in SQL.
        """
        enrolled = BetaEnrolment.objects.filter(
            Q(beta__ended_at=None) | Q(beta__ended_at__gt=Now()),
            beta__flag=self,
            beta__started_at__lte=Now(),
        )
        return (
            Q(pk__in=self.accounts.values("pk"))
            | Q(tags__overlap=self.account_tags)
            | Q(pk__in=enrolled.values("account"))
        )

    def is_active_for_user(self, user: Any) -> bool:
        """Answer waffle's own question (`flag_is_active`) as availability does.

        waffle 5.0 says True for a listed user although `everyone` is False (#575).
        """
        if self.everyone is not None:
            return bool(self.everyone)
        if not user.is_authenticated:
            return False
        return bool(user.accounts.filter(self.lists()).exists())


class Beta(models.Model):
    """A product that accounts may try of their own accord, from a day and to a day.

    The flag is open for those that enrolled while the beta goes on, and shut by the kill
    (`everyone` no) as for anybody.
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
