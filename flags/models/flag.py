"""Feature flags: who sees what is not for everyone yet."""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Exists, F, OuterRef, Q, Value
from django.db.models.functions import Now
from django.db.models.lookups import LessThan
from waffle.models import AbstractUserFlag


class Bucket(models.Func):
    """In which of 100 parts of all accounts an account is, to a flag: its name, the key.

    The same as availability.bucket_of(); the function is made by migration gates.
    """

    function = "flags_bucket"
    output_field = models.SmallIntegerField()


class Flag(AbstractUserFlag):
    """`everyone` yes: launched; no: off for all, whoever is listed; unknown: by list.

    is_killed shuts it for all and leaves the rest as it was, to be taken back. What changes
    a flag is flags.changes.

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
    account_percent = models.PositiveSmallIntegerField(
        "percentage of accounts",
        default=0,
        db_default=0,
        help_text="On for so many of 100 accounts, always the same ones; 100 is all.",
    )
    is_killed = models.BooleanField(
        "killed",
        default=False,
        db_default=False,
        editable=False,
        help_text="Shut for all until it is taken back.",
    )

    class Meta:
        ordering = ["name"]
        permissions = [("kill_flag", "Can shut a flag at once")]
        constraints = [
            models.CheckConstraint(
                condition=Q(account_percent__range=(0, 100)),
                name="flag_percent_of_accounts",
                violation_error_message="A percentage is 0 to 100.",
            ),
            models.CheckConstraint(
                condition=Q(testing=False)
                & Q(superusers=False)
                & Q(staff=False)
                & Q(authenticated=False)
                & Q(rollout=False)
                & Q(percent=None)
                & Q(languages=""),
                name="flag_only_accounts_and_tags",
            ),
        ]

    def __str__(self) -> str:
        return str(self.name)

    def lists(self) -> Q:
        """Return the condition on accounts that `everyone` being unknown leaves it to.

        The same as availability.IS_OPEN says in SQL.
        """
        betas = self.betas.filter(
            Q(ended_at=None) | Q(ended_at__gt=Now()),
            Q(account_tags=[]) | Q(account_tags__overlap=OuterRef("tags")),
            enrolments__account=OuterRef("pk"),
            started_at__lte=Now(),
        )
        return (
            Q(pk__in=self.accounts.values("pk"))
            | Q(tags__overlap=self.account_tags)
            | Q(LessThan(Bucket(Value(self.name), F("pk")), self.account_percent))
            | Q(Exists(betas))
        )

    def is_active_for_user(self, user: Any) -> bool:
        """Answer waffle's own question (`flag_is_active`) as availability does.

        waffle 5.0 says True for a listed user although `everyone` is False (#575).
        """
        if self.is_killed:
            return False
        if self.everyone is not None:
            return bool(self.everyone)
        if not user.is_authenticated:
            return False
        return bool(user.accounts.filter(self.lists()).exists())
