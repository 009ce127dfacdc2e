"""What is sold: plans (the API calls them types) and images."""

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Mod
from django.db.models.lookups import Exact
from django.utils.translation import gettext_lazy as _

from instances.choices import DiskFormat, ImageStatus, PlanClass
from instances.placement import NumaPolicy
from inventory.models import GpuModel, Host, Region


class Plan(models.Model):
    slug = models.SlugField(unique=True, help_text="The API's type: g1-gpu-rtx6000-1.")
    label = models.CharField(max_length=100)
    plan_class = models.CharField(
        "class", max_length=10, choices=PlanClass, default=PlanClass.STANDARD
    )
    cards = models.PositiveSmallIntegerField(default=0)
    gpu_model = models.ForeignKey(
        GpuModel,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        verbose_name="GPU model",
    )
    vcpus = models.PositiveSmallIntegerField("vCPUs")
    memory_mib = models.PositiveIntegerField("memory, MiB")
    disk_mib = models.PositiveIntegerField("disk, MiB")
    transfer_gb = models.PositiveIntegerField("transfer, GB a month", default=0)
    network_out_mbps = models.PositiveIntegerField("network out, Mbit/s", default=0)
    price_hourly = models.DecimalField("$ an hour", max_digits=10, decimal_places=4)
    price_monthly = models.DecimalField("$ a month", max_digits=10, decimal_places=2)
    numa_policy = models.CharField(
        "NUMA policy",
        max_length=9,
        choices={
            NumaPolicy.REQUIRED: _("one node required"),
            NumaPolicy.PREFERRED: _("one node, else split"),
            NumaPolicy.SPREAD: _("spread over a number of nodes"),
        },
        default=NumaPolicy.PREFERRED,
    )
    numa_nodes = models.PositiveSmallIntegerField(
        "NUMA nodes",
        default=0,
        help_text="Over how many nodes it is spread; 0 for the other policies.",
    )
    hugepage_kib = models.PositiveIntegerField(
        "hugepages",
        choices={0: _("none"), 2048: "2 MiB", 1048576: "1 GiB"},
        default=0,
        help_text="The guest's memory comes from pages that its host keeps for it.",
    )
    flag_name = models.CharField(
        "feature flag",
        max_length=100,
        blank=True,
        help_text="Shown only where this flag is open. Empty: no gate.",
    )
    is_sold = models.BooleanField(default=True, help_text="Can be launched at all.")
    position = models.PositiveSmallIntegerField(default=0, help_text="Place in lists.")

    class Meta:
        ordering = ["position", "slug"]
        constraints = [
            models.CheckConstraint(
                condition=Q(cards=0, gpu_model=None)
                | Q(cards__gte=1, gpu_model__isnull=False),
                name="plan_cards_have_a_model",
            ),
            models.CheckConstraint(
                condition=Q(vcpus__gte=1, memory_mib__gte=1), name="plan_not_empty"
            ),
            models.CheckConstraint(
                condition=(Q(numa_nodes=0) & ~Q(numa_policy=NumaPolicy.SPREAD))
                | Q(
                    Q(cards=0) | Q(cards__gte=F("numa_nodes")),
                    numa_policy=NumaPolicy.SPREAD,
                    numa_nodes__range=(2, 8),
                    vcpus__gte=F("numa_nodes"),
                ),
                name="plan_spread_names_its_nodes",
                violation_error_message="Spread needs 2 to 8 NUMA nodes, no more than the "
                "plan has cards and vCPUs; other policies need 0.",
            ),
            models.CheckConstraint(
                condition=Q(hugepage_kib=0)
                | Q(Exact(Mod("memory_mib", 2), 0), hugepage_kib=2048)
                | Q(Exact(Mod("memory_mib", 1024), 0), hugepage_kib=1048576),
                name="plan_memory_in_whole_hugepages",
                violation_error_message="The memory is no whole number of hugepages.",
            ),
        ]

    def __str__(self) -> str:
        return self.label

    def price_in(self, region: Region) -> "Plan | RegionPrice":
        """Return what has the plan's prices in a region."""
        return self.region_prices.filter(region=region).first() or self


class RegionPrice(models.Model):
    """What a plan costs in a region where it costs other than elsewhere, in US dollars."""

    plan = models.ForeignKey(
        Plan, on_delete=models.CASCADE, related_name="region_prices"
    )
    region = models.ForeignKey(Region, on_delete=models.PROTECT)
    price_hourly = models.DecimalField("$ an hour", max_digits=10, decimal_places=4)
    price_monthly = models.DecimalField("$ a month", max_digits=10, decimal_places=2)

    class Meta:
        ordering = ["region__slug"]
        constraints = [
            models.UniqueConstraint(
                fields=["plan", "region"], name="plan_has_one_price_in_a_region"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan} in {self.region}"


class Image(models.Model):
    """A system to start: a disk image, or in labs a kernel that lies on the host."""

    slug = models.CharField(
        max_length=100, unique=True, help_text="The API's id: linode/debian12."
    )
    label = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    vendor = models.CharField(max_length=50, blank=True)
    status = models.CharField(
        max_length=14, choices=ImageStatus, default=ImageStatus.AVAILABLE
    )
    problem = models.CharField(
        max_length=500, blank=True, editable=False, help_text="Why it is not available."
    )
    fetching_since = models.DateTimeField(null=True, blank=True, editable=False)
    size_mib = models.PositiveIntegerField(
        "minimum disk, MiB",
        default=1,
        help_text="Raised to the image's own size when it is fetched.",
    )
    source = models.CharField(
        max_length=500,
        blank=True,
        help_text="https://..., or a file's path below GPUCLOUD_IMAGE_FOLDER.",
    )
    sha256 = models.CharField(
        "SHA-256 digest",
        max_length=64,
        blank=True,
        validators=[RegexValidator(r"^[0-9a-f]{64}$", "64 hexadecimal digits.")],
        help_text="Of the file, in small letters: sha256sum FILE.",
    )
    disk_format = models.CharField(
        "format", max_length=5, blank=True, choices=DiskFormat
    )
    file_bytes = models.BigIntegerField(
        "size of the file, bytes", null=True, blank=True, editable=False
    )
    virtual_bytes = models.BigIntegerField(
        "size of the disk, bytes", null=True, blank=True, editable=False
    )
    has_cloud_init = models.BooleanField(
        "reads cloud-init seeds",
        default=True,
        help_text="Keys, passwords, host names and addresses reach the guest.",
    )
    kernel_path = models.CharField(
        max_length=255,
        blank=True,
        help_text="Lab only, in place of a source: a kernel that lies on every host.",
    )
    initrd_path = models.CharField(max_length=255, blank=True)
    cmdline = models.CharField("kernel command line", max_length=500, blank=True)
    is_offered = models.BooleanField(
        default=True, help_text="New instances may have it."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "slug"]
        constraints = [
            models.CheckConstraint(
                condition=(~Q(kernel_path="") & Q(source="", sha256="", disk_format=""))
                | (
                    Q(kernel_path="", sha256__regex=r"^[0-9a-f]{64}$")
                    & ~Q(source="")
                    & ~Q(disk_format="")
                ),
                name="image_is_a_disk_or_a_kernel",
                violation_error_message="Give either source, SHA-256 digest and format, "
                "or a kernel path.",
            ),
            models.CheckConstraint(
                condition=~Q(status=ImageStatus.AVAILABLE)
                | ~Q(kernel_path="")
                | Q(file_bytes__isnull=False, virtual_bytes__isnull=False),
                name="image_on_offer_was_checked",
            ),
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def is_disk(self) -> bool:
        return not self.kernel_path

    @property
    def reads_seeds(self) -> bool:
        """Whether keys, passwords and user data have an effect."""
        return self.is_disk and self.has_cloud_init


class HostImage(models.Model):
    """An image on a host. volume: whole and checked; empty while it is on its way.

    upload: the volume that is being filled, by whoever holds the lease. Each upload has a
    name of its own, so that half an image is never taken for a whole one.
    """

    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="images")
    digest = models.CharField("SHA-256 digest", max_length=64)
    volume = models.CharField(max_length=100, blank=True)
    upload = models.CharField(max_length=100, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    verified_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["host", "digest"]
        verbose_name = "image on a host"
        verbose_name_plural = "images on hosts"
        constraints = [
            models.UniqueConstraint(fields=["host", "digest"], name="host_image_once"),
            models.CheckConstraint(
                condition=Q(volume="", verified_at=None)
                | (~Q(volume="") & Q(verified_at__isnull=False)),
                name="host_image_whole_iff_verified",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.digest[:12]} on {self.host}"
