"""What gpucloud needs of a hypervisor, in libvirt's words; every driver keeps to it.

Errors are those of inventory.exceptions: DomainNotFound is a proof of absence,
HostUnreachable is no knowledge at all, HypervisorError a refusal. Every method blocks up
to its driver's deadline and never inside a database transaction.
"""

from enum import StrEnum
from typing import Protocol


class DomainState(StrEnum):
    """virDomainState, as far as gpucloud tells apart."""

    RUNNING = "running"
    PAUSED = "paused"
    SHUTTING_DOWN = "shutting_down"
    OFF = "off"
    CRASHED = "crashed"
    OTHER = "other"


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

    def read_volume_tail(self, pool: str, volume: str, max_bytes: int) -> bytes:
        """Return the last bytes of a volume; empty if there is no such volume."""

    def delete_volume(self, pool: str, volume: str) -> None:
        """Delete a volume; one that is not there is fine."""
