"""What a job's steps may use: the machine on its host, and the records."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from instances.domain_xml import DomainSpec
from instances.firewall_rules import Rules
from instances.guest_disk import DiskPlan
from inventory.exceptions import DomainNotFound
from inventory.hypervisor.port import DomainState, Hypervisor


class Records(Protocol):
    """The database, as far as steps may touch it; each call is one transaction."""

    def gate_is_open(self) -> bool:
        """Say whether the flags still let this account have what it claimed.

        What a kill refuses is counted, once a job.
        """

    def take_next_image(self) -> None:
        """Say that the disk's content is given up for that of a rebuild's image."""

    def is_to_run(self) -> bool:
        """Say whether the customer wants the guest to run."""

    def take_next_claims(self) -> None:
        """Give the instance the plan that it is resized to; release what it had before.

        Only after its domain is proven to have the new plan's claims, and those alone.
        """

    def release_next_claims(self) -> None:
        """End the claims of the plan that it was to be resized to; proven unused."""

    def note_state(self, state: DomainState | None) -> None:
        """Keep what was observed of the domain; None: there is none."""

    def release_claims(self) -> None:
        """End the instance's claims; only after the domain is proven absent."""

    def note_filter(self, version: int) -> None:
        """Say that the host knows the instance's filter as of this version, or a later."""


class Storage(Protocol):
    """Images on the machine's host, and what its seed is made from.

    A volume that is being filled has a lease and a name of its own; only one that was
    filled to its end and checked is whole. One whose filling ended early is torn: it alone
    may be deleted, for a volume that was ever whole may have disks based on it.
    """

    @property
    def plan(self) -> DiskPlan:
        """Say what the disk is made from, and where."""

    def image_file(self) -> Path:
        """Return a checked copy of the image on this machine; may fetch it first.

        Raises StepFailed, whose public message names nothing of ours.
        """

    def forget_image_file(self) -> None:
        """Delete this machine's copy, which is damaged: the next job fetches another."""

    def whole_volume(self) -> str:
        """Return the name of the image's volume on the host; empty if there is none."""

    def take_torn_upload(self) -> str:
        """Return the name of a torn volume to delete; empty if there is none.

        From here on, whoever was filling it can no longer say that it is whole.
        """

    def forget_torn_upload(self, volume: str) -> None:
        """Say that the torn volume is no longer on the host."""

    def take_upload(self) -> str:
        """Return the name of a volume to fill; empty while somebody else fills one."""

    def renew_upload(self, volume: str) -> None:
        """Keep the upload. Raises StepFailed if it was taken over."""

    def finish_upload(self, volume: str) -> None:
        """Say that the volume is whole. Raises StepFailed if it was taken over."""

    def abandon_upload(self, volume: str) -> None:
        """Let somebody else try; the volume is torn."""

    def forget_volume(self, volume: str) -> None:
        """Say that the host has no such volume any more."""

    def seed_files(self) -> dict[str, bytes]:
        """Return the seed's files by name; they hold secrets."""

    def noted_seed(self) -> str:
        """Return the digest of the seed that the machine has; empty if none is noted."""

    def note_seed(self, digest: str) -> None:
        """Keep the digest of the seed that the machine has."""

    def recall(self, files: dict[str, bytes]) -> None:
        """Have the next seed hold what the one with these files holds, but its password."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A domain and the host that it is for."""

    hypervisor: Hypervisor
    spec: DomainSpec

    def state(self) -> DomainState | None:
        """Return the domain's state; None is the host's word that there is none."""
        try:
            return self.hypervisor.domain_state(self.spec.uuid)
        except DomainNotFound:
            return None

    def is_on(self) -> bool:
        state = self.state()
        return state is not None and state.is_on


@dataclass(frozen=True, slots=True)
class WantedFilter:
    """What a guest's packets are to be held to. rules: None without a firewall.

    version: that of the instance before the rules were read, which are no older.
    """

    version: int = 0
    rules: Rules | None = None


@dataclass(frozen=True, slots=True)
class StepContext:
    """machine: None once nothing is claimed; then there is nothing of it on any host.

    storage: None for a guest that boots a kernel of its host. next_storage: of the image
    that a rebuild will use, until it does. renew_lease: keeps the job for so many seconds
    more; raises LeaseLost. grace_s: how long a guest may take to power off. next_machine:
    with the claims of the plan that a resize goes to, until they are the instance's.
    next_disk_bytes: to what its disk is to grow; 0: it stays as it is.
    """

    records: Records
    machine: Machine | None
    storage: Storage | None
    renew_lease: Callable[[int], None]
    next_storage: Storage | None = None
    grace_s: float = 0.0
    next_machine: Machine | None = None
    next_disk_bytes: int = 0
    wanted_filter: WantedFilter = WantedFilter()
