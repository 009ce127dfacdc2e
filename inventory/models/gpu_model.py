"""Which PCI identities are cards for sale."""

from django.core.validators import RegexValidator
from django.db import models


class GpuModel(models.Model):
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=100)
    memory_mib = models.PositiveIntegerField(help_text="Memory on the card, MiB.")

    class Meta:
        ordering = ["slug"]
        verbose_name = "GPU model"

    def __str__(self) -> str:
        return self.name


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
