"""A time for which an account uses some plans without paying: what was granted, and its end."""

from datetime import datetime

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from instances.choices import AfterTrial, TrialEnd
from instances.models.account import Account
from instances.models.catalogue import Plan
from instances.models.time_range import TimeRange


class Trial(models.Model):
    """starts_at and ends_at are the database's time of the grant; they never change.

    ended_at: when it was over, which is at ends_at or before it, whenever that was noticed;
    None: nobody has looked since. An instance is part of it from its launch, and for ever
    (Instance.trial). delete_at: of what a trial leaves that is deleted after it.
    """

    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="trials"
    )
    plans = models.ManyToManyField(Plan, related_name="+")
    cards = models.PositiveSmallIntegerField(_("cards at once"))
    card_hours = models.PositiveIntegerField(_("card hours in all"))
    starts_at = models.DateTimeField(_("from"))
    ends_at = models.DateTimeField(_("to"))
    at_end = models.CharField(_("at its end"), max_length=6, choices=AfterTrial)
    grace_hours = models.PositiveSmallIntegerField(
        _("hours until deletion"), default=24
    )
    reason = models.CharField(_("reason"), max_length=400)
    granted_by = models.CharField(_("granted by"), max_length=150)
    warned_s = models.PositiveIntegerField(
        null=True,
        blank=True,
        editable=False,
        help_text="So many seconds before its end its account was warned last.",
    )
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)
    end_reason = models.CharField(
        _("ended because"), max_length=8, choices=TrialEnd, blank=True
    )
    end_remark = models.CharField(_("remark"), max_length=400, blank=True)
    ended_by = models.CharField(_("ended by"), max_length=150, blank=True)
    delete_at = models.DateTimeField(_("deletion at"), null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = _("trial")
        verbose_name_plural = _("trials")
        constraints = [
            models.UniqueConstraint(
                fields=["account"],
                condition=Q(ended_at=None),
                name="trial_one_open_per_account",
            ),
            ExclusionConstraint(
                name="trial_without_overlap",
                expressions=[
                    ("account", RangeOperators.EQUAL),
                    (
                        TimeRange("starts_at", Coalesce("ended_at", "ends_at")),
                        RangeOperators.OVERLAPS,
                    ),
                ],
            ),
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at"), cards__gt=0, card_hours__gt=0),
                name="trial_grants_something",
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None)
                | Q(ended_at__gte=F("starts_at"), ended_at__lte=F("ends_at")),
                name="trial_ends_in_its_time",
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None, end_reason="", delete_at=None)
                | Q(ended_at__isnull=False)
                & ~Q(end_reason="")
                & (
                    Q(at_end=AfterTrial.BILL, delete_at=None)
                    | Q(at_end=AfterTrial.DELETE, delete_at__isnull=False)
                ),
                name="trial_end_is_told_whole",
            ),
        ]

    def __str__(self) -> str:
        return f"Trial {self.pk}"

    def bills(self, at: datetime) -> bool:
        """Say whether use at a moment is past what it gave; what is deleted costs nothing."""
        is_over = self.ended_at is not None and at >= self.ended_at
        return is_over and self.at_end == AfterTrial.BILL
