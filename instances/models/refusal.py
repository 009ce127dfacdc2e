"""Demand that was turned away: what a bigger fleet or quota would have sold."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from instances.models.account import Account
from instances.models.catalogue import Plan
from instances.models.job import Job
from inventory.models import Region


class RefusedDemand(models.Model):
    """One launch or reservation that was well-formed and allowed, and could not be had."""

    class Reason(models.TextChoices):
        CAPACITY = "capacity", _("no capacity")
        QUOTA = "quota", _("account's quota")
        KILLED = "killed", _("flag was killed")

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    region = models.ForeignKey(Region, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=8, choices=Reason)
    flag_name = models.CharField(
        "killed flag", max_length=100, blank=True, default="", db_default=""
    )
    # Of a launch or resize that was under way: counted once, however often it is tried.
    job = models.OneToOneField(
        Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    is_employee = models.BooleanField("employee's")
    at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "refused demand"

    def __str__(self) -> str:
        return f"{self.plan} in {self.region}: {self.get_reason_display()}"
