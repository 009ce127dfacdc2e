"""The proof that a card is clean and works: append-only, as the ledger."""

from django.db import models

from inventory.choices import CheckKind, CheckOutcome
from inventory.models.card import Card


class CardCheck(models.Model):
    """One guest of ours on one card, and what it printed.

    console: its last characters; console_digest: SHA-256 of all that was read.
    """

    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="checks")
    kind = models.CharField(max_length=8, choices=CheckKind)
    outcome = models.CharField(max_length=7, choices=CheckOutcome)
    finding = models.CharField(
        max_length=500, help_text="What was found, or why it failed."
    )
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    image = models.CharField(max_length=400, blank=True, help_text="What ran.")
    console = models.TextField(blank=True)
    console_digest = models.CharField(
        "SHA-256 of the console", max_length=64, blank=True
    )
    actor = models.CharField(max_length=150, help_text="job:ID.")

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["card", "kind", "-id"], name="check_of_card")]

    def __str__(self) -> str:
        return f"{self.card} {self.get_kind_display()}: {self.get_outcome_display()}"
