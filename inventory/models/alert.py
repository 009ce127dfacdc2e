"""Health alerts: what is wrong with a region, a host or a card, and who says so."""

from django.db import models
from django.db.models import Q

from inventory.choices import AlertClass
from inventory.models.card import Card
from inventory.models.host import Host
from inventory.models.region import Region

_ONE_SUBJECT = (
    Q(region__isnull=False, host=None, card=None)
    | Q(region=None, host__isnull=False, card=None)
    | Q(region=None, host=None, card__isnull=False)
)


class Alert(models.Model):
    """source: who raised it, such as sanitising, user:NAME or a monitoring system.

    code: a short word of the source's, so that the same alert is raised once.
    """

    region = models.ForeignKey(
        Region, null=True, blank=True, on_delete=models.PROTECT, related_name="alerts"
    )
    host = models.ForeignKey(
        Host, null=True, blank=True, on_delete=models.PROTECT, related_name="alerts"
    )
    card = models.ForeignKey(
        Card, null=True, blank=True, on_delete=models.PROTECT, related_name="alerts"
    )
    alert_class = models.CharField("class", max_length=15, choices=AlertClass)
    source = models.CharField(max_length=150)
    code = models.CharField(max_length=50)
    message = models.CharField(max_length=500)
    raised_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    cleared_at = models.DateTimeField(null=True, blank=True)
    cleared_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=_ONE_SUBJECT, name="alert_has_one_subject"
            ),
            models.UniqueConstraint(
                fields=["source", "code", "region", "host", "card"],
                condition=Q(cleared_at=None),
                nulls_distinct=False,
                name="alert_open_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.region or self.host or self.card}: {self.message}"
