"""The systems that scrub and test cards between two tenants (docs/card-checks.md)."""

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q

# A worker is taken for dead some minutes after this.
LONGEST_S = 3600


class CheckImage(models.Model):
    """A kernel that lies on every host; the contract of what it prints is the document's.

    cmdline comes after `mode=scrub` or `mode=test`.
    """

    slug = models.SlugField(unique=True)
    kernel_path = models.CharField(max_length=255, help_text="On every host.")
    initrd_path = models.CharField(max_length=255, blank=True)
    cmdline = models.CharField("kernel command line", max_length=500, blank=True)
    memory_mib = models.PositiveIntegerField(
        "memory, MiB", default=64, help_text="From what the host keeps for itself."
    )
    timeout_s = models.PositiveIntegerField(
        "timeout, s",
        default=300,
        validators=[MaxValueValidator(LONGEST_S)],
        help_text="After this the check has failed.",
    )
    expected_s = models.PositiveIntegerField(
        "expected time, s", default=60, help_text="Until enough checks were measured."
    )

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(
                condition=Q(timeout_s__gte=1, timeout_s__lte=LONGEST_S),
                name="check_image_timeout_in_range",
            )
        ]

    def __str__(self) -> str:
        return self.slug
