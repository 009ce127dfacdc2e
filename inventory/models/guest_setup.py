"""What a host has for its guests: where disks lie, and what network cards hang on."""

from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from inventory.choices import NetworkKind
from inventory.models.claim import NodeClaim
from inventory.models.host import Host

_DISKS = ("disk_pool", "disk_folder")


class GuestSetup(models.Model):
    """Decided by people. A host without this row has the defaults, and no network."""

    host = models.OneToOneField(
        Host, primary_key=True, on_delete=models.PROTECT, related_name="guest_setup"
    )
    image_pool = models.SlugField(
        default="gpucloud-images",
        help_text="libvirt storage pool for images. Made over the folder if it is absent.",
    )
    image_folder = models.CharField(
        max_length=255, default="/var/lib/libvirt/gpucloud/images"
    )
    disk_pool = models.SlugField(
        default="gpucloud-disks", help_text="libvirt storage pool for guests' disks."
    )
    disk_folder = models.CharField(
        max_length=255, default="/var/lib/libvirt/gpucloud/disks"
    )
    copies_images = models.BooleanField(
        "full copies",
        default=False,
        help_text="A disk is a full copy of its image: slower to make, and apart from it.",
    )
    wipes_disks = models.BooleanField(
        "wipe before delete",
        default=True,
        help_text="Off only where the storage itself forgets what is deleted.",
    )
    network_kind = models.CharField(
        max_length=8, choices=NetworkKind, default=NetworkKind.NETWORK
    )
    network_name = models.CharField(
        max_length=50,
        blank=True,
        help_text="libvirt network, or bridge of the host. Empty: guests have no network.",
    )

    class Meta:
        ordering = ["host"]
        verbose_name = "guest setup"
        constraints = [
            models.CheckConstraint(
                condition=~Q(image_pool=models.F("disk_pool")),
                name="setup_pools_differ",
            ),
        ]

    def __str__(self) -> str:
        return f"guests of {self.host}"

    def clean(self) -> None:
        """Say what the database would refuse (migration 0013)."""
        before = setup_of(self.host)
        moved = [f for f in _DISKS if getattr(self, f) != getattr(before, f)]
        held = NodeClaim.objects.filter(numa_node__host=self.host, released_at=None)
        if moved and held.exists():
            raise ValidationError(
                dict.fromkeys(
                    moved,
                    "Disks of guests lie there: change it when nothing is held on the "
                    "host.",
                )
            )


def setups_of(hosts: Iterable[Host]) -> dict[int, GuestSetup]:
    """Return host id -> setup_of() it; one query."""
    by_id = {host.pk: host for host in hosts}
    found = {row.pk: row for row in GuestSetup.objects.filter(host__in=by_id)}
    setups = {pk: found.get(pk) or GuestSetup(host=by_id[pk]) for pk in by_id}
    for pk, setup in setups.items():
        setup.host = by_id[pk]
    return setups


def setup_of(host: Host) -> GuestSetup:
    """Return the host's setup, or an unsaved one with the defaults; one query."""
    return GuestSetup.objects.filter(host=host).first() or GuestSetup(host=host)
