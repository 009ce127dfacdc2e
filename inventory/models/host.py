"""A GPU host with its NUMA nodes and logical CPUs."""

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from inventory.choices import HostConnection, HostPolicy
from inventory.models.region import Region


class Host(models.Model):
    """Policy is what people decided, connection what was observed; neither is the other."""

    name = models.SlugField(unique=True)
    region = models.ForeignKey(Region, on_delete=models.PROTECT, related_name="hosts")
    libvirt_uri = models.CharField("libvirt URI", max_length=255, unique=True)
    host_uuid = models.UUIDField(
        "host UUID", unique=True, help_text="libvirt capabilities, host/uuid."
    )
    domain_type = models.CharField(
        max_length=4, choices={"kvm": "kvm", "qemu": _("qemu (emulated, lab only)")}
    )
    policy = models.CharField(
        max_length=12, choices=HostPolicy, default=HostPolicy.IN_SERVICE
    )
    policy_changed_at = models.DateTimeField(null=True, blank=True)
    policy_reason = models.CharField(
        max_length=500, blank=True, help_text="Why, and who decided it."
    )
    connection = models.CharField(
        max_length=8, choices=HostConnection, default=HostConnection.UNKNOWN
    )
    last_seen_at = models.DateTimeField(null=True, blank=True)
    reconciled_at = models.DateTimeField(
        null=True, blank=True, help_text="When rows and host were last compared."
    )
    reconcile_due_at = models.DateTimeField(default=timezone.now)
    failed_looks = models.PositiveSmallIntegerField(
        default=0, help_text="How often in a row the host did not answer."
    )
    cpu_seconds = models.FloatField(
        null=True, blank=True, editable=False, help_text="Since boot, when last seen."
    )
    free_shape = models.TextField(
        blank=True,
        editable=False,
        help_text="Search key of the claim, derived from the claims under the row's lock.",
    )
    enrolled_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        indexes = [
            models.Index(
                fields=["region", "free_shape", "id"],
                name="host_accepting_shape",
                condition=Q(policy=HostPolicy.IN_SERVICE, connection=HostConnection.OK),
            )
        ]

    def __str__(self) -> str:
        return self.name


class NumaNode(models.Model):
    """memory_mib less reserved_memory_mib is what claims may take as ordinary memory.

    Reserved are what the host keeps and all that stands in hugepages; those serve plans
    that ask for pages of their size.
    """

    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="nodes")
    number = models.PositiveSmallIntegerField()
    memory_mib = models.PositiveIntegerField("memory, MiB")
    reserved_memory_mib = models.PositiveIntegerField("reserved for the host, MiB")
    hugepages = models.JSONField(
        default=dict, blank=True, help_text="Page size in KiB -> number of pages."
    )

    class Meta:
        ordering = ["host", "number"]
        verbose_name = "NUMA node"
        constraints = [
            models.UniqueConstraint(fields=["host", "number"], name="node_number_once"),
            models.CheckConstraint(
                condition=Q(reserved_memory_mib__lte=F("memory_mib")),
                name="node_reserve_within_memory",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.host.name} node {self.number}"

    @property
    def ordinary_memory_mib(self) -> int:
        """What claims without hugepages may take in all."""
        return self.memory_mib - self.reserved_memory_mib

    @property
    def hugepages_mib(self) -> int:
        return sum(int(size) * n for size, n in self.hugepages.items()) // 1024


class HostCpu(models.Model):
    """One logical CPU. core: the lowest CPU number among its siblings."""

    numa_node = models.ForeignKey(
        NumaNode, on_delete=models.PROTECT, related_name="cpus"
    )
    number = models.PositiveSmallIntegerField()
    core = models.PositiveSmallIntegerField()
    is_reserved = models.BooleanField(default=False, help_text="Kept for the host.")

    class Meta:
        ordering = ["numa_node", "number"]
        verbose_name = "host CPU"
        verbose_name_plural = "host CPUs"
        constraints = [
            models.UniqueConstraint(
                fields=["numa_node", "number"], name="cpu_number_once"
            )
        ]

    def __str__(self) -> str:
        return f"CPU {self.number}"
