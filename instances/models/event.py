"""What customers are told: the rows behind /account/events, kept after the instance."""

from django.db import models

from instances.choices import EntityType, EventAction, EventStatus
from instances.models.account import Account
from instances.models.job import Job


class Event(models.Model):
    """Ids of entities are no foreign keys: an event outlives what it is about.

    secondary_entity: the Linode that was put on a firewall or into a placement group, or taken
    out.
    """

    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="events"
    )
    action = models.CharField(max_length=40, choices=EventAction)
    status = models.CharField(max_length=12, choices=EventStatus)
    entity_type = models.CharField(
        max_length=16, choices=EntityType, default=EntityType.LINODE
    )
    entity_id = models.BigIntegerField()
    entity_label = models.CharField(max_length=64)
    secondary_entity_id = models.BigIntegerField(null=True, blank=True)
    secondary_entity_label = models.CharField(max_length=64, blank=True)
    username = models.CharField(max_length=150)
    message = models.CharField(max_length=500, blank=True)
    percent_complete = models.PositiveSmallIntegerField(default=0)
    seen = models.BooleanField(default=False)
    job = models.ForeignKey(
        Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="events"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["account", "-id"], name="event_by_account")]

    def __str__(self) -> str:
        return f"{self.action} {self.entity_label}: {self.status}"
