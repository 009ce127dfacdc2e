"""What a job's steps may use: the machine on its host, and the records."""

from dataclasses import dataclass
from typing import Protocol

from instances.domain_xml import DomainSpec
from inventory.exceptions import DomainNotFound
from inventory.hypervisor.port import DomainState, Hypervisor


class Records(Protocol):
    """The database, as far as steps may touch it; each call is one transaction."""

    def gate_is_open(self) -> bool:
        """Say whether the plan's flag still lets this account claim."""

    def note_state(self, state: DomainState) -> None:
        """Keep what was observed of the domain."""

    def release_claims(self) -> None:
        """End the instance's claims; only after the domain is proven absent."""


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


@dataclass(frozen=True, slots=True)
class StepContext:
    """machine: None once nothing is claimed; then there is nothing of it on any host."""

    records: Records
    machine: Machine | None
