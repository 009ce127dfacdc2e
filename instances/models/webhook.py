"""Where an account's events are pushed to, and each push of one."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from instances.choices import DeliveryState
from instances.models.account import Account


class Webhook(models.Model):
    """actions: of the events that are pushed; none named is all.

    failures: in a row, of any delivery. Nothing is sent before not_before; a worker is at
    it until busy_until at the latest.
    """

    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="webhooks"
    )
    url = models.CharField("URL", max_length=500)
    actions = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    sealed_secret = models.TextField(
        editable=False, help_text="Encrypted with a key made of SECRET_KEY."
    )
    failures = models.PositiveIntegerField("failures in a row", default=0)
    not_before = models.DateTimeField(db_default=Now())
    busy_until = models.DateTimeField(db_default=Now())
    disabled_at = models.DateTimeField(null=True, blank=True)
    created_by = models.CharField(max_length=150, help_text="user:NAME")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"Webhook {self.pk}"


class WebhookDelivery(models.Model):
    """One event on its way to one webhook; the database makes it with the event.

    event: the event's columns at that moment. due_at: when it may be tried again, which
    while a worker tries it is when that worker must be dead.
    """

    webhook = models.ForeignKey(
        Webhook, on_delete=models.CASCADE, related_name="deliveries"
    )
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    event = models.JSONField()
    state = models.CharField(
        max_length=9, choices=DeliveryState, default=DeliveryState.PENDING
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField()
    http_status = models.PositiveSmallIntegerField(
        "HTTP status", null=True, blank=True, help_text="Of the latest answer."
    )
    problem = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "webhook deliveries"
        constraints = [
            models.CheckConstraint(
                condition=Q(state=DeliveryState.PENDING, ended_at=None)
                | (~Q(state=DeliveryState.PENDING) & Q(ended_at__isnull=False)),
                name="webhook_delivery_ended_at_iff_ended",
            )
        ]
        indexes = [
            models.Index(
                fields=["webhook", "due_at"],
                name="webhook_delivery_pending",
                condition=Q(state=DeliveryState.PENDING),
            ),
            models.Index(fields=["ended_at"], name="webhook_delivery_by_end"),
        ]

    def __str__(self) -> str:
        return str(self.uuid)

    @property
    def action(self) -> str:
        return str(self.event["action"])
