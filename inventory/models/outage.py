"""When nothing was known of a host, as long as that is kept."""

from django.db import models
from django.db.models import F, Q

from inventory.models.host import Host


class HostOutage(models.Model):
    """A time in which a host was in the fleet and its connection was not "ok".

    The database writes it with the host's row (trigger host_outage_noted): whoever changes
    the connection, there is one open row while it is not "ok", and none otherwise.
    """

    host = models.ForeignKey(
        Host, on_delete=models.PROTECT, related_name="outages", db_index=False
    )
    began_at = models.DateTimeField("found silent at")
    ended_at = models.DateTimeField("answered again at", null=True, blank=True)
    last_seen_at = models.DateTimeField(
        null=True, blank=True, help_text="When it had answered last, before."
    )
    cause = models.CharField(
        max_length=500,
        blank=True,
        help_text="What asking it came to, if that is known.",
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["host"], condition=Q(ended_at=None), name="outage_open_once"
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None) | Q(ended_at__gte=F("began_at")),
                name="outage_ends_after_it_began",
            ),
        ]
        indexes = [models.Index(fields=["host", "-began_at"], name="outage_of_host")]

    def __str__(self) -> str:
        return f"{self.host} {self.began_at:%Y-%m-%d %H:%M:%S}"
