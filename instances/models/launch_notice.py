"""Who asked to be told of a product's launch, and that they were."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from flags.models import Flag
from instances.models.account import Account


class LaunchNotice(models.Model):
    """Made by the database with the change that launches the flag (migration launch_notices).

    One for an account and flag: whoever was told is not told again when a launch is taken
    back and made anew. It is not looked at before not_before, when other flags keep all of
    it from the account.
    """

    flag = models.ForeignKey(Flag, on_delete=models.PROTECT, related_name="+")
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="launch_notices"
    )
    asked_at = models.DateTimeField(db_default=Now())
    not_before = models.DateTimeField(db_default=Now())
    told_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["flag", "account"], name="launch_notice_once_per_account"
            )
        ]
        indexes = [
            models.Index(
                fields=["not_before"],
                name="launch_notice_pending",
                condition=Q(told_at=None),
            )
        ]

    def __str__(self) -> str:
        return f"{self.flag} for {self.account}"
