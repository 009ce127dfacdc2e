"""What a job's steps may use: the hypervisor, the domain's spec, and the records."""

from dataclasses import dataclass
from typing import Protocol

from instances.domain_xml import DomainSpec
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
class StepContext:
    """spec: None once nothing is claimed any more, then there is nothing on any host."""

    hypervisor: Hypervisor
    spec: DomainSpec | None
    records: Records

    @property
    def domain(self) -> DomainSpec:
        """The spec, for steps that cannot be without one."""
        if self.spec is None:
            raise LookupError("the instance holds no claim")
        return self.spec
