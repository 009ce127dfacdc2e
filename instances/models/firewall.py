"""A customer's packet rules, and the instances that are held to them."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from instances.choices import FirewallStatus
from instances.models.account import Account
from instances.models.instance import Instance


class Firewall(models.Model):
    """rules: as instances.firewall_rules has checked them. version: counts their changes."""

    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="firewalls"
    )
    label = models.CharField(max_length=32)
    status = models.CharField(
        max_length=8, choices=FirewallStatus, default=FirewallStatus.ENABLED
    )
    tags = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    rules = models.JSONField()
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "label"], name="firewall_label_once_per_account"
            )
        ]

    def __str__(self) -> str:
        return self.label


class FirewallDevice(models.Model):
    """An instance on a firewall: on one at most, and only while it lives."""

    firewall = models.ForeignKey(
        Firewall, on_delete=models.CASCADE, related_name="devices"
    )
    instance = models.OneToOneField(
        Instance, on_delete=models.CASCADE, related_name="firewall_device"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.instance_id} on {self.firewall_id}"
