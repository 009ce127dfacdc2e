"""The plan that an instance is going to, from the request until that has ended."""

from django.db import models

from instances.models.catalogue import Plan
from instances.models.instance import Instance


class PendingResize(models.Model):
    """While there is one, the instance holds two sets of claims: its own and this one's.

    claim_set: of the new plan. grows_disk: to the new plan's size.
    """

    instance = models.OneToOneField(
        Instance,
        primary_key=True,
        on_delete=models.CASCADE,
        related_name="pending_resize",
    )
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    claim_set = models.PositiveSmallIntegerField()
    grows_disk = models.BooleanField(default=True)

    def __str__(self) -> str:
        return f"{self.instance} to {self.plan}"
