"""Capacity kept for an account until a time, for an instance that comes later."""

import uuid

from django.db import models
from django.db.models import Q

from instances.choices import ReservationState
from instances.models.account import Account
from instances.models.catalogue import Plan
from inventory.models import Region


class Reservation(models.Model):
    """uuid is the claims' consumer, and in the end that of the instance that uses it."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="reservations"
    )
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT)
    region = models.ForeignKey(Region, on_delete=models.PROTECT)
    state = models.CharField(
        max_length=8, choices=ReservationState, default=ReservationState.ACTIVE
    )
    expires_at = models.DateTimeField()
    created_by = models.CharField(max_length=150, help_text="user:NAME")
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    idempotency_key = models.CharField(max_length=200, blank=True, editable=False)
    request_digest = models.CharField(
        max_length=64, blank=True, editable=False, help_text="Of the create's body."
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="reservation_once_per_idempotency_key",
            ),
            models.CheckConstraint(
                condition=Q(state=ReservationState.ACTIVE, ended_at=None)
                | (~Q(state=ReservationState.ACTIVE) & Q(ended_at__isnull=False)),
                name="reservation_ended_at_iff_ended",
            ),
        ]
        indexes = [
            models.Index(
                fields=["expires_at"],
                name="reservation_due",
                condition=Q(state=ReservationState.ACTIVE),
            ),
            models.Index(
                fields=["account"],
                name="reservation_active",
                condition=Q(state=ReservationState.ACTIVE),
            ),
        ]

    def __str__(self) -> str:
        return f"Reservation {self.pk}"
