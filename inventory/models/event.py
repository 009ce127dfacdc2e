"""The ledger: what happened to each card, append-only (the database refuses changes)."""

from django.db import models

from inventory.choices import CardCondition, CardEventKind
from inventory.models.card import Card
from inventory.models.check import CardCheck
from inventory.models.claim import CardClaim
from inventory.models.host import Host


class CardEvent(models.Model):
    """Written in the transaction of the change that it tells; replaying gives today."""

    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="events")
    at = models.DateTimeField()
    kind = models.CharField(max_length=10, choices=CardEventKind)
    from_condition = models.CharField(
        max_length=12, choices=CardCondition, blank=True, default=""
    )
    to_condition = models.CharField(max_length=12, choices=CardCondition)
    actor = models.CharField(
        max_length=150, help_text="user:NAME, account:ID or job:ID."
    )
    reason = models.CharField(max_length=500)
    consumer = models.UUIDField(null=True, blank=True, db_index=True)
    claim = models.ForeignKey(
        CardClaim,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="events",
    )

    check_done = models.ForeignKey(
        CardCheck,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="events",
        verbose_name="evidence",
    )
    host = models.ForeignKey(
        Host,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Where the card is from now on, if this put it there.",
    )
    slot_path = models.CharField("PCI slot", max_length=20, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["card", "id"], name="card_event_history")]

    def __str__(self) -> str:
        return f"{self.card}: {self.get_kind_display()}"
