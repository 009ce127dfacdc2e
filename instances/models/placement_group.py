"""Instances that a customer wants on different hosts."""

from django.db import models
from django.db.models import Q

from instances.choices import PlacementPolicy
from instances.models.account import Account
from instances.models.instance import Instance
from inventory.models import Host, Region


class PlacementGroup(models.Model):
    """Anti-affinity over hosts; there is no other type. policy: never changes."""

    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="placement_groups"
    )
    region = models.ForeignKey(Region, on_delete=models.PROTECT, related_name="+")
    label = models.CharField(max_length=64)
    policy = models.CharField(max_length=8, choices=PlacementPolicy)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "label"],
                name="placement_group_label_once_per_account",
            )
        ]

    def __str__(self) -> str:
        return self.label


class PlacementMember(models.Model):
    """An instance in a group: in one at most, and only while it lives.

    host: where its claims are, which no instance leaves. policy: its group's. Both are here
    for the index that lets no two members of a strict group onto one host; the database
    compares them with what they repeat (migration 0029).
    """

    group = models.ForeignKey(
        PlacementGroup, on_delete=models.PROTECT, related_name="members"
    )
    instance = models.OneToOneField(
        Instance, on_delete=models.CASCADE, related_name="placement_member"
    )
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="+")
    policy = models.CharField(max_length=8, choices=PlacementPolicy)
    created_at = models.DateTimeField("since", auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["group", "host"],
                condition=Q(policy=PlacementPolicy.STRICT),
                name="strict_group_once_on_a_host",
            )
        ]

    def __str__(self) -> str:
        return f"{self.instance_id} in {self.group_id}"
