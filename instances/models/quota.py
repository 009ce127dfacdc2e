"""How many cards of a model an account may hold at once."""

from django.db import models

from instances.models.account import Account
from inventory.models import GpuModel


class GpuQuota(models.Model):
    """account: None for every account that has no row of its own. No row is no limit."""

    account = models.ForeignKey(
        Account,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="gpu_quotas",
        help_text="Empty: for every account without a quota of its own.",
    )
    gpu_model = models.ForeignKey(
        GpuModel, on_delete=models.CASCADE, related_name="+", verbose_name="GPU model"
    )
    cards = models.PositiveIntegerField(
        help_text="At once, in instances and reservations, over all regions."
    )

    class Meta:
        ordering = ["gpu_model", "account"]
        verbose_name = "GPU quota"
        constraints = [
            models.UniqueConstraint(
                fields=["account", "gpu_model"],
                nulls_distinct=False,
                name="gpu_quota_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.account or 'Every account'}: {self.cards} x {self.gpu_model}"
