"""What a guest's disk is made from, and where it lies on its host; pure."""

from dataclasses import dataclass

from instances.domain_devices import Disk


@dataclass(frozen=True, slots=True)
class DiskImage:
    """A checked image. virtual_bytes: what a guest sees of it."""

    digest: str
    format: str
    file_bytes: int
    virtual_bytes: int


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """Pools are libvirt's, made over the folders where they are absent.

    is_full_copy: the disk does not depend on the image's volume. is_wiped: before delete.
    """

    uuid: str
    image: DiskImage
    capacity_bytes: int
    image_pool: str
    image_folder: str
    disk_pool: str
    disk_folder: str
    is_full_copy: bool
    is_wiped: bool

    @property
    def volume(self) -> str:
        """The disk's name; the UUID, so that no label can name a path."""
        return f"{self.uuid}.qcow2"

    @property
    def seed_volume(self) -> str:
        return f"{self.uuid}-seed.iso"

    @property
    def disks(self) -> tuple[Disk, Disk]:
        """What the domain has: the disk that it boots from, and its seed."""
        return (
            Disk(self.disk_pool, self.volume, "qcow2"),
            Disk(self.disk_pool, self.seed_volume, "raw", is_read_only=True),
        )
