"""The steps of a card's jobs: scrub it and test it, each by a guest of ours.

The card's own maintenance domain has a UUID that follows from the card, so that whatever
an earlier attempt left behind is found and removed first.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from instances.exceptions import StepFailed
from inventory.console_report import (
    Expectation,
    is_complete,
    problems_of_scrub,
    problems_of_test,
)
from inventory.exceptions import DomainNotFound, HostUnreachable, HypervisorError
from inventory.hypervisor.check_domain import build_check_domain
from inventory.hypervisor.console import (
    CONSOLE_FOLDER,
    CONSOLE_POOL,
    console_file,
    console_volume,
)
from inventory.hypervisor.port import DomainState, Hypervisor
from inventory.hypervisor.xml import parse_function
from inventory.topology import PciAddress

_POLL_S = 0.3
_LEASE_S = 180
_CONSOLE_BYTES = 1 << 20
_ENDED = (DomainState.OFF, DomainState.SHUT_DOWN, DomainState.CRASHED)


@dataclass(frozen=True, slots=True)
class CheckGuest:
    """What runs on the card. kernel_path and initrd_path lie on the host."""

    slug: str
    kernel_path: str
    initrd_path: str
    cmdline: str
    memory_mib: int
    timeout_s: int


@dataclass(frozen=True, slots=True)
class CardUnderCheck:
    """The card's place and what it should be. cpus: host CPUs that the guest may use."""

    card_id: int
    uuid: str
    name: str
    domain_type: str
    functions: tuple[PciAddress, ...]
    node: int
    cpus: tuple[int, ...]
    expected: Expectation
    scrub: CheckGuest | None
    test: CheckGuest | None
    is_skipped: bool
    is_retired: bool


class CardRecords(Protocol):
    """The database, as far as a card's steps may touch it; each call a transaction."""

    def begin(self, kind: str) -> None:
        """Put the card into the condition of that check."""

    def passed(self, kind: str, finding: str, image: str, console: str) -> None:
        """Keep the evidence of a check that passed."""

    def failed(self, kind: str, finding: str, image: str, console: str) -> None:
        """Keep the evidence of a check that failed."""

    def skipped(self, kind: str) -> None:
        """Keep that a check was skipped by the lab's setting."""

    def missing(self) -> None:
        """Keep that the host no longer lists the card."""

    def admit(self) -> None:
        """Put the card on sale."""


@dataclass(frozen=True, slots=True)
class CardContext:
    """renew_lease: keeps the job for so many seconds more; raises LeaseLost."""

    records: CardRecords
    card: CardUnderCheck
    hypervisor: Hypervisor
    renew_lease: Callable[[int], None]


class ClearCard:
    """Nothing of an earlier attempt is left; its undo, the last, leaves nothing either."""

    name = "clear_card"
    label = "Nothing left of an earlier check"
    timeout_s = 180

    def do(self, context: CardContext) -> None:
        if not context.card.is_skipped:
            _remove(context)

    def undo(self, context: CardContext) -> None:
        if not context.card.is_retired:
            self.do(context)
            return
        # Nobody gets this card again, and its host may be gone for good.
        with suppress(HostUnreachable):
            self.do(context)


class RemoveCheckGuest:
    """A person asked for it; the job keeps every check of the card away meanwhile."""

    name = "remove_check_guest"
    label = "Left-over check guest removed"
    timeout_s = 180

    def do(self, context: CardContext) -> None:
        _remove(context)

    def undo(self, context: CardContext) -> None:
        """What was removed is not put back."""


class _Check:
    kind = ""
    # Above the longest call, a start. While the guest runs the lease is short: a worker
    # that dies is followed at once, one that was overtaken stops.
    timeout_s = 420

    def _guest(self, card: CardUnderCheck) -> CheckGuest | None:
        raise NotImplementedError

    def _problems(self, console: str, expected: Expectation) -> list[str]:
        raise NotImplementedError

    def do(self, context: CardContext) -> None:
        context.records.begin(self.kind)
        card, records = context.card, context.records
        if card.is_skipped:
            # An attempt from before the lab's setting may have left its guest.
            _remove(context)
            records.skipped(self.kind)
            return
        guest = self._guest(card)
        if guest is None:
            raise StepFailed("The card cannot be checked.", f"no image to {self.kind}")
        what = f"{guest.slug}: {guest.kernel_path} mode={_MODES[self.kind]}"
        console = ""
        try:
            console = _run(context, guest, _MODES[self.kind])
            problems = self._problems(console, card.expected)
        except HostUnreachable:
            # No knowledge is no failure: the check is made again when the host answers.
            raise
        except HypervisorError as error:
            if not _is_listed(context):
                # Pulled out is not broken: two such failures would quarantine it.
                records.missing()
                raise StepFailed("The card is no longer there.", str(error)) from error
            problems = [f"the host refused the check: code {error.code}: {error}"]
        # The guest and the verdict are the successor's if there is one.
        context.renew_lease(_LEASE_S)
        _remove(context)
        if problems:
            records.failed(self.kind, "; ".join(problems), what, console)
            raise StepFailed("The card failed its check.", "; ".join(problems))
        records.passed(self.kind, "as expected", what, console)

    def undo(self, context: CardContext) -> None:
        """ClearCard's undo removes the guest; the evidence stays."""


class SanitiseCard(_Check):
    name = "sanitise_card"
    label = "Memory overwritten and read back"
    kind = "sanitise"

    def _guest(self, card: CardUnderCheck) -> CheckGuest | None:
        return card.scrub

    def _problems(self, console: str, expected: Expectation) -> list[str]:
        return problems_of_scrub(console, expected)


class TestCard(_Check):
    name = "test_card"
    label = "Card compared with its model"
    kind = "test"

    def _guest(self, card: CardUnderCheck) -> CheckGuest | None:
        return card.test

    def _problems(self, console: str, expected: Expectation) -> list[str]:
        return problems_of_test(console, expected)


class AdmitCard:
    name = "admit_card"
    label = "Card ready"
    timeout_s = 60

    def do(self, context: CardContext) -> None:
        context.records.admit()

    def undo(self, context: CardContext) -> None:
        """It was the last step: there is nothing to take back."""


_MODES = {"sanitise": "scrub", "test": "test"}


def _run(context: CardContext, guest: CheckGuest, mode: str) -> str:
    """Run one guest to its last line, its end or its timeout; return its console."""
    card, hypervisor = context.card, context.hypervisor
    _remove(context)
    hypervisor.ensure_folder_pool(CONSOLE_POOL, CONSOLE_FOLDER)
    hypervisor.define_domain(
        build_check_domain(
            uuid=card.uuid,
            name=card.name,
            title=f"{mode} of card {card.card_id}",
            domain_type=card.domain_type,
            kernel_path=guest.kernel_path,
            initrd_path=guest.initrd_path,
            cmdline=f"mode={mode} {guest.cmdline}".strip(),
            memory_mib=guest.memory_mib,
            functions=card.functions,
            node=card.node,
            cpus=card.cpus,
            console_file=console_file(card.uuid),
            metadata={"card": str(card.card_id), "mode": mode},
        )
    )
    hypervisor.start_domain(card.uuid)
    deadline = time.monotonic() + guest.timeout_s
    while True:
        context.renew_lease(_LEASE_S)
        state = hypervisor.domain_state(card.uuid)
        # Read after the state: what was printed before the end is then in it.
        console = _console(context)
        is_over = state in _ENDED or time.monotonic() > deadline
        if is_over or is_complete(console):
            return console
        time.sleep(_POLL_S)


def _is_listed(context: CardContext) -> bool:
    """A host that lists no function at all proves nothing."""
    listed = {
        parse_function(document).address
        for document in context.hypervisor.pci_devices()
    }
    return not listed or listed.issuperset(context.card.functions)


def _console(context: CardContext) -> str:
    raw = context.hypervisor.read_volume_tail(
        CONSOLE_POOL, console_volume(context.card.uuid), _CONSOLE_BYTES
    )
    return raw.decode(errors="replace")


def _remove(context: CardContext) -> None:
    """Have no maintenance domain of this card, and no console of it."""
    card, hypervisor = context.card, context.hypervisor
    with suppress(DomainNotFound):
        hypervisor.destroy_domain(card.uuid)
        hypervisor.undefine_domain(card.uuid)
    hypervisor.delete_volume(CONSOLE_POOL, console_volume(card.uuid))
