"""Who holds which cards, CPUs and memory: the only source of "used".

consumer is the holder's UUID (an instance's, or of what becomes one); inventory knows
nothing else about it.
claim_set tells apart what a consumer holds in two sets while it goes from one to the other.
The database refuses a second open claim on a card or CPU, memory beyond a node, a card
that is not ready and a CPU that the node lacks or keeps for the host (migration 0002).
"""

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, RangeOperators
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models import F, Q

from inventory.models.card import Card
from inventory.models.host import NumaNode


class CardClaim(models.Model):
    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="claims")
    consumer = models.UUIDField(db_index=True)
    claim_set = models.PositiveSmallIntegerField("set", default=1, db_default=1)
    claimed_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, blank=True)
    is_hold = models.BooleanField(
        "hold",
        default=False,
        help_text="Kept for somebody, and no guest has had the card by this claim.",
    )
    is_adopted = models.BooleanField(
        "adopted",
        default=False,
        db_default=False,
        help_text="Its guest was found with the card, which need not have been ready.",
    )

    class Meta:
        ordering = ["-claimed_at", "card"]
        permissions = [
            ("force_release", "Can release claims whose machine is proven gone")
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["card"],
                condition=Q(released_at=None),
                name="card_one_open_claim",
            ),
            models.CheckConstraint(
                condition=Q(released_at=None) | Q(released_at__gte=F("claimed_at")),
                name="card_claim_ends_after_start",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.card} for {self.consumer}"


class NodeClaim(models.Model):
    """cpus: whole cores, core by core; the first `vcpus` run the guest's vCPUs."""

    numa_node = models.ForeignKey(
        NumaNode, on_delete=models.PROTECT, related_name="claims"
    )
    consumer = models.UUIDField(db_index=True)
    claim_set = models.PositiveSmallIntegerField("set", default=1, db_default=1)
    cpus = ArrayField(models.IntegerField(), verbose_name="CPUs")
    vcpus = models.PositiveSmallIntegerField("vCPUs")
    memory_mib = models.PositiveIntegerField("memory, MiB")
    hugepage_kib = models.PositiveIntegerField(
        "hugepage size, KiB", default=0, help_text="0: ordinary memory."
    )
    claimed_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-claimed_at", "numa_node"]
        constraints = [
            ExclusionConstraint(
                name="cpu_one_open_claim",
                expressions=[
                    ("numa_node", RangeOperators.EQUAL),
                    (OpClass("cpus", name="gist__int_ops"), RangeOperators.OVERLAPS),
                ],
                condition=Q(released_at=None),
            ),
            models.UniqueConstraint(
                fields=["numa_node", "consumer", "claim_set"],
                condition=Q(released_at=None),
                name="node_one_open_claim_per_consumer",
            ),
            models.CheckConstraint(
                condition=Q(vcpus__gte=1)
                & Q(
                    vcpus__lte=models.Func(
                        F("cpus"),
                        function="cardinality",
                        output_field=models.IntegerField(),
                    )
                ),
                name="node_claim_cpu_for_each_vcpu",
            ),
            models.CheckConstraint(
                condition=Q(released_at=None) | Q(released_at__gte=F("claimed_at")),
                name="node_claim_ends_after_start",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.numa_node} for {self.consumer}"
