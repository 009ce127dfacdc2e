"""A feature flag that is on for accounts, for account tags, or for everyone."""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from waffle.models import AbstractUserFlag


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

    def is_active_for_user(self, user: Any) -> bool:
        """Answer waffle's own question (`flag_is_active`) as availability does.

        waffle 5.0 says True for a listed user although `everyone` is False (#575).
        """
        if self.everyone is not None:
            return bool(self.everyone)
        if not user.is_authenticated:
            return False
        return bool(
            user.accounts.filter(
                Q(flags=self) | Q(tags__overlap=self.account_tags)
            ).exists()
        )
