"""Who waits for a plan in a region, in the order of asking."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from instances.choices import WaitState
from instances.models.account import Account
from instances.models.catalogue import Plan
from instances.models.reservation import Reservation
from inventory.models import Region


class WaitlistEntry(models.Model):
    """reservation: what was held when its account was told; its state says the rest.

    The order is that of the keys. It is not looked at before not_before, when the account
    may not have the plan; that costs it no place.
    """

    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="waitlist"
    )
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    region = models.ForeignKey(Region, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=9, choices=WaitState, default=WaitState.WAITING)
    reservation = models.OneToOneField(
        Reservation,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="waitlist_entry",
    )
    not_before = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    created_by = models.CharField(max_length=150, help_text="user:NAME")
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField("waited until", null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "waitlist entries"
        constraints = [
            models.UniqueConstraint(
                fields=["account", "plan", "region"],
                condition=Q(state=WaitState.WAITING),
                name="waitlist_once_per_account_plan_and_region",
            ),
            models.CheckConstraint(
                condition=Q(state=WaitState.WAITING, ended_at=None)
                | (~Q(state=WaitState.WAITING) & Q(ended_at__isnull=False)),
                name="waitlist_ended_at_iff_ended",
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=(WaitState.WAITING, WaitState.EXPIRED), reservation=None
                )
                | Q(state=WaitState.TOLD, reservation__isnull=False)
                | Q(state=WaitState.CANCELLED),
                name="waitlist_told_with_a_reservation",
            ),
        ]
        indexes = [
            models.Index(
                fields=["region", "id"],
                name="waitlist_waiting",
                condition=Q(state=WaitState.WAITING),
            )
        ]

    def __str__(self) -> str:
        return f"Waitlist entry {self.pk}"
