"""What gpucloud needs of a hypervisor, in libvirt's words; every driver keeps to it.

Errors are those of inventory.exceptions: DomainNotFound is a proof of absence,
HostUnreachable is no knowledge at all, HypervisorError a refusal; VolumeBusy is one that
ends by itself, or a copy or wipe that goes on beyond its deadline. Every method blocks up
to its driver's deadline and never inside a database transaction.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class DomainState(StrEnum):
    """virDomainState with its reason, as far as gpucloud tells apart.

    shut_down: the guest powered off by itself, asked by ACPI or not. crashed: it or its
    emulator failed. off: never started, unplugged, or libvirt no longer knows why, as
    after a restart of its own or of its host.
    """

    RUNNING = "running"
    PAUSED = "paused"
    SHUTTING_DOWN = "shutting_down"
    OFF = "off"
    SHUT_DOWN = "shut_down"
    CRASHED = "crashed"
    OTHER = "other"

    @property
    def is_on(self) -> bool:
        """Say whether the domain has an emulator, which has its cards and disks open.

        One that sleeps or is in a state without a name has: better asked to stop in vain.
        """
        return self not in (self.OFF, self.SHUT_DOWN, self.CRASHED)


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    """What a host says of a storage volume.

    capacity: bytes that a guest sees, or of the file where the format holds no disk.
    allocation: bytes that it takes. backing_path: of the volume that it is based on.
    """

    capacity: int
    allocation: int
    format: str
    backing_path: str = ""


@dataclass(frozen=True, slots=True)
class Backing:
    """A volume that another is based on, or is a copy of."""

    pool: str
    volume: str
    format: str


class Hypervisor(Protocol):
    """One host. Domains are named by their UUID, as text."""

    def capabilities(self) -> str:
        """Return the capabilities document (virConnectGetCapabilities)."""

    def pci_devices(self) -> list[str]:
        """Return one nodedev document per PCI function (virConnectListAllNodeDevices)."""

    def domains(self) -> dict[str, DomainState]:
        """Return the state of every domain, defined or running, by UUID."""

    def domain_documents(self) -> dict[str, str]:
        """Return what domain_xml() says of every domain, by UUID."""

    def cpu_seconds(self) -> float | None:
        """Return the CPU time since the host's boot, summed over its CPUs, idle included.

        virNodeGetCPUStats; None where the driver cannot tell. It falls at a reboot.
        """

    def versions(self) -> tuple[int, int]:
        """Return libvirt's and the hypervisor's version, 1000000 * major + 1000 * minor."""

    def domain_capabilities(self, domain_type: str) -> str:
        """Return what an x86_64 q35 guest may have (virConnectGetDomainCapabilities)."""

    def free_pages(self, node: int, size_kib: int) -> int:
        """Return how many pages of a size are free on one NUMA node (virNodeGetFreePages)."""

    def pools(self) -> dict[str, int | None]:
        """Return the free bytes of every storage pool by name; None if it is inactive."""

    def networks(self) -> dict[str, bool]:
        """Return whether each virtual network is active, by name."""

    def clock(self, pool: str) -> float | None:
        """Return the host's time, as seconds since 1970: that of a volume made just now.

        The empty volume is deleted at once. None without such an active pool, or where the
        pool keeps no times.
        """

    def define_domain(self, xml: str) -> None:
        """Define, or define anew, a domain after validation (VIR_DOMAIN_DEFINE_VALIDATE)."""

    def start_domain(self, uuid: str) -> None:
        """Start a domain (virDomainCreate); refused if it runs or a device is in use."""

    def domain_state(self, uuid: str) -> DomainState:
        """Return the domain's state."""

    def domain_xml(self, uuid: str) -> str:
        """Return the live document of a running domain, else the defined one."""

    def shutdown_domain(self, uuid: str) -> None:
        """Ask the guest to power off by ACPI; returns at once."""

    def destroy_domain(self, uuid: str) -> None:
        """Pull the plug; a domain that is off already is left as it is."""

    def undefine_domain(self, uuid: str) -> None:
        """Forget a domain that is off."""

    def ensure_folder_pool(self, name: str, path: str) -> None:
        """Have an active storage pool of type dir at `path`."""

    def volume(self, pool: str, volume: str) -> VolumeFacts | None:
        """Return what is known of a volume; None is the host's word that there is none.

        For volumes that were made through this port: files that come by other ways are
        not looked for.
        """

    def volume_names(self, pool: str) -> list[str]:
        """Return the names of a pool's volumes, sorted; empty without such a pool."""

    def create_volume(
        self,
        pool: str,
        volume: str,
        capacity: int,
        format: str,
        backing: Backing | None = None,
    ) -> None:
        """Create a sparse volume that reads as zeros, or as what it is based on.

        capacity: bytes. Refused if there is a volume of that name.
        """

    def clone_volume(self, pool: str, volume: str, source: Backing) -> None:
        """Create a qcow2 volume with a full copy of another's content, of its capacity.

        Blocks up to COPY_TIMEOUT_S.
        """

    def resize_volume(self, pool: str, volume: str, capacity: int) -> None:
        """Have a volume grow to so many bytes; one that is in use is refused."""

    def wipe_volume(self, pool: str, volume: str) -> None:
        """Have a volume's content read as zeros; one that is not there is fine.

        libvirt overwrites what is allocated, and truncates a sparse file. Blocks up to
        COPY_TIMEOUT_S; what takes longer goes on, and is not begun again by a later call.
        """

    def upload_volume(
        self, pool: str, volume: str, source: str, offset: int, length: int
    ) -> None:
        """Send `length` bytes of a file of this machine to the same place of a volume.

        One bounded part a call, so that each has a deadline of its own.
        """

    def write_volume(self, pool: str, volume: str, content: bytes) -> None:
        """Create a raw volume with this content; for small ones, such as a seed."""

    def define_filter(self, xml: str) -> None:
        """Define, or define anew, a network filter (virNWFilterDefineXML).

        Guests that run with it are held to what it says now before this returns. Blocks up
        to FILTER_TIMEOUT_S.
        """

    def undefine_filter(self, name: str) -> None:
        """Forget a network filter; one that is not there is fine, one in use is refused."""

    def filter_names(self) -> list[str]:
        """Return the names of all network filters, libvirt's own included, sorted."""

    def read_volume_tail(self, pool: str, volume: str, max_bytes: int) -> bytes:
        """Return the last bytes of a volume; empty if there is no such volume."""

    def delete_volume(self, pool: str, volume: str) -> None:
        """Delete a volume; one that is not there is fine."""
