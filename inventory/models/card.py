"""A GPU: the unit of sale, which is every function that must move together."""

from django.db import models
from django.db.models import Q

from inventory.choices import CardCondition
from inventory.models.gpu_model import GpuModel
from inventory.models.host import Host, NumaNode


class Card(models.Model):
    """What the card is and what condition it is in; who uses it is the open CardClaim."""

    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="cards")
    numa_node = models.ForeignKey(
        NumaNode, on_delete=models.PROTECT, related_name="cards"
    )
    gpu_model = models.ForeignKey(
        GpuModel, on_delete=models.PROTECT, related_name="cards"
    )
    identity = models.CharField(
        max_length=160,
        unique=True,
        help_text="Serial number, else host, slot and ids: what makes it this card.",
    )
    identity_is_weak = models.BooleanField(
        help_text="No serial number: another card in the same slot looks the same."
    )
    slot_path = models.CharField(
        "PCI slot", max_length=20, help_text="With its domain: 0000:21:00."
    )
    condition = models.CharField(
        max_length=12, choices=CardCondition, default=CardCondition.UNVERIFIED
    )
    condition_changed_at = models.DateTimeField(auto_now_add=True)
    enrolled_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["host", "slot_path"]
        constraints = [
            models.UniqueConstraint(
                fields=["host", "slot_path"],
                condition=~Q(
                    condition__in=[CardCondition.MISSING, CardCondition.RETIRED]
                ),
                name="card_one_per_slot",
            )
        ]

    def __str__(self) -> str:
        return f"{self.host.name} {self.slot_path}"


class CardFunction(models.Model):
    """One PCI function of a card; all of them are passed through together."""

    card = models.ForeignKey(Card, on_delete=models.CASCADE, related_name="functions")
    number = models.PositiveSmallIntegerField()
    pci_id = models.CharField("PCI id", max_length=9)
    class_code = models.CharField(max_length=6, help_text="Hexadecimal, as 030200.")
    iommu_group = models.PositiveIntegerField("IOMMU group")
    driver = models.CharField(
        max_length=50, blank=True, help_text="Of the host, while no guest has the card."
    )

    class Meta:
        ordering = ["card", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["card", "number"], name="card_function_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.card.slot_path}.{self.number} {self.pci_id}"
