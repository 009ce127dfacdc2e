"""The systems that scrub and test cards between two tenants (docs/card-checks.md)."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q

# A worker is taken for dead some minutes after this.
LONGEST_S = 3600
# Of a job's time, what its two guests' definition, start and removal may take.
BESIDES_S = 120


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

    def clean(self) -> None:
        """Refuse a timeout that would have a job with this image cut off."""
        from inventory.models.gpu_model import GpuModel

        problem = problem_of_timeouts(self)
        pairs = GpuModel.objects.filter(
            Q(scrub_image=self.pk) | Q(test_image=self.pk)
        ).select_related("scrub_image", "test_image")
        for model in pairs if self.pk else ():
            mine = [
                self if image == self else image
                for image in (model.scrub_image, model.test_image)
            ]
            problem = problem or problem_of_timeouts(*mine)
        if problem:
            raise ValidationError({"timeout_s": problem})


def problem_of_timeouts(*images: CheckImage | None) -> str:
    """Return why one job cannot run the guests of `images`, empty if it can.

    django-q2 ends a worker after GPUCLOUD_JOB_TIMEOUT_S; a check that needs longer would
    be cut off and begun again for ever.
    """
    named = [image for image in images if image is not None]
    needed_s = sum(image.timeout_s for image in named)
    left_s = settings.JOB_TIMEOUT_S - BESIDES_S
    if needed_s <= left_s:
        return ""
    times = " and ".join(f"{image.slug} {image.timeout_s} s" for image in named)
    return (
        f"One job runs {times}, and {BESIDES_S} s besides: more than "
        f"GPUCLOUD_JOB_TIMEOUT_S={settings.JOB_TIMEOUT_S}. Shorten a timeout, or set "
        f"{needed_s + BESIDES_S} or more for every web server and worker."
    )
