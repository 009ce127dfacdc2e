"""What a host answered before it is enrolled, and what a check says of it; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from inventory.cards import CardFinding
from inventory.topology import HostFacts


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105 -- a word of the report
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One finding. remedy: what a person does about it, empty if nothing."""

    name: str
    verdict: Verdict
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class GuestTrial:
    """What came of a guest with one card. card: its slot, empty if none could be taken.

    problem: why it did not run, or was not tried; empty if it was seen running.
    """

    card: str
    problem: str = ""
    leftover: str = ""


@dataclass(frozen=True, slots=True)
class HostReport:
    """What a host answered; None where a question was refused or has no answer.

    versions: libvirt's and QEMU's, 1000000 * major + 1000 * minor + release. free_pages:
    by NUMA node and page size in KiB. pools: free bytes by name, None if inactive.
    clock_skew_s: the host's time less ours. phys_bits: width of physical addresses.
    bar_mib: model slug -> MiB of its largest BAR, or of its memory. refusals: question ->
    why the host did not answer it.
    """

    uri: str
    is_lab: bool = False
    console_pool: str = ""
    unreachable: str = ""
    facts: HostFacts | None = None
    cards: tuple[CardFinding, ...] = ()
    versions: tuple[int, int] | None = None
    pci_backends: tuple[str, ...] = ()
    free_pages: Mapping[tuple[int, int], int] = field(default_factory=dict)
    pools: Mapping[str, int | None] = field(default_factory=dict)
    networks: Mapping[str, bool] = field(default_factory=dict)
    clock_skew_s: float | None = None
    phys_bits: int | None = None
    bar_mib: Mapping[str, int] = field(default_factory=dict)
    trial: GuestTrial | None = None
    refusals: Mapping[str, str] = field(default_factory=dict)

    @property
    def known_facts(self) -> HostFacts:
        """Its facts, of a check that is only made where they were told."""
        assert self.facts is not None  # noqa: S101 -- verdicts.check() sees to it
        return self.facts

    @property
    def known_cards(self) -> list[CardFinding]:
        return [card for card in self.cards if card.model is not None]
