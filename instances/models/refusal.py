"""Demand that was turned away: what a bigger fleet or quota would have sold."""

from django.db import models

from instances.models.account import Account
from instances.models.catalogue import Plan
from inventory.models import Region


class RefusedDemand(models.Model):
    """One launch or reservation that was well-formed and allowed, and could not be had."""

    class Reason(models.TextChoices):
        CAPACITY = "capacity", "no capacity"
        QUOTA = "quota", "account's quota"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    region = models.ForeignKey(Region, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=8, choices=Reason)
    is_employee = models.BooleanField("employee's")
    at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "refused demand"

    def __str__(self) -> str:
        return f"{self.plan} in {self.region}: {self.get_reason_display()}"
