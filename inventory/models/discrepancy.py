"""Where a host differs from our rows, as long as it does and afterwards."""

from django.db import models
from django.db.models import Q

from inventory.choices import DiscrepancyKind
from inventory.models.card import Card
from inventory.models.host import Host


class Discrepancy(models.Model):
    """Written by reconciliation, which repairs nothing; people act on it.

    What a person's action has settled ends with it: an accepted move, a retired host.

    subject: what differs within its kind, such as a PCI address or a domain's UUID.
    consumer: the claim's holder that it is about, if any.
    """

    host = models.ForeignKey(
        Host, on_delete=models.PROTECT, related_name="discrepancies"
    )
    kind = models.CharField(max_length=20, choices=DiscrepancyKind)
    subject = models.CharField(max_length=160)
    card = models.ForeignKey(
        Card,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="discrepancies",
    )
    consumer = models.UUIDField(null=True, blank=True, db_index=True)
    detail = models.CharField(max_length=1000)
    prevents_claims = models.BooleanField(
        default=False,
        help_text="Its card (or the host, if it names none) is not sold meanwhile.",
    )
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)
    shut_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When a person had its guest shut: nobody adopts it meanwhile.",
    )

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "discrepancies"
        constraints = [
            models.UniqueConstraint(
                fields=["host", "kind", "subject"],
                condition=Q(resolved_at=None),
                name="discrepancy_open_once",
            )
        ]
        indexes = [
            models.Index(
                fields=["card"],
                name="discrepancy_blocks_card",
                condition=Q(resolved_at=None, prevents_claims=True),
            )
        ]

    def __str__(self) -> str:
        return f"{self.host}: {self.get_kind_display()} ({self.subject})"
