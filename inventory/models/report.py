"""What a card's user says is wrong with it: append-only, as the ledger."""

from django.db import models

from inventory.choices import ReportedProblem
from inventory.models.claim import CardClaim


class CardReport(models.Model):
    """One for each claim: who holds a card says once that it is bad.

    What came of it is no field: the check after the claim's end tells. The database
    refuses one about a claim that is over or a hold (migration 0014).
    """

    claim = models.OneToOneField(
        CardClaim, on_delete=models.PROTECT, related_name="report"
    )
    problem = models.CharField(max_length=12, choices=ReportedProblem)
    text = models.CharField(max_length=1000)
    reported_at = models.DateTimeField()
    reported_by = models.CharField(max_length=150, help_text="user:NAME.")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.claim.card}: {self.get_problem_display()}"
