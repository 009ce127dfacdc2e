"""Which PCI identities are cards for sale."""

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

from inventory.models.check_image import CheckImage, problem_of_timeouts


class GpuModel(models.Model):
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=100)
    memory_mib = models.PositiveIntegerField(help_text="Memory on the card, MiB.")
    flag_name = models.CharField(
        "feature flag",
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text="Its plans are known only where this flag is open. Empty: no gate.",
    )

    scrub_image = models.ForeignKey(
        CheckImage,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Overwrites a released card. Without one, a used card stays dirty.",
    )
    test_image = models.ForeignKey(
        CheckImage,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Tests a card before it is sold. Without one, none becomes ready.",
    )
    scrub_mib = models.PositiveIntegerField(
        "scrubbed memory, MiB",
        null=True,
        blank=True,
        help_text="Least that a scrub must overwrite; empty: the memory on the card.",
    )
    function_count = models.PositiveSmallIntegerField(
        "PCI functions", null=True, blank=True, help_text="Empty: not compared."
    )
    bar_mib = models.PositiveIntegerField(
        "memory BAR, MiB", null=True, blank=True, help_text="Empty: not compared."
    )
    link_width = models.PositiveSmallIntegerField(
        "least PCIe lanes", null=True, blank=True, help_text="Empty: not compared."
    )

    class Meta:
        ordering = ["slug"]
        verbose_name = "GPU model"

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse a pair of images whose guests one job has no time for."""
        if problem := problem_of_timeouts(self.scrub_image, self.test_image):
            raise ValidationError({"test_image": problem})


class PciId(models.Model):
    """One vendor:device pair of the card's main function, such as 10de:1e30."""

    gpu_model = models.ForeignKey(
        GpuModel, on_delete=models.CASCADE, related_name="pci_ids"
    )
    pci_id = models.CharField(
        "PCI id",
        max_length=9,
        unique=True,
        validators=[
            RegexValidator(
                r"^[0-9a-f]{4}:[0-9a-f]{4}$", "Write vendor:device, such as 10de:1e30."
            )
        ],
    )

    class Meta:
        ordering = ["pci_id"]
        verbose_name = "PCI id"

    def __str__(self) -> str:
        return self.pci_id
