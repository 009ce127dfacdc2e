"""The steps that jobs are made of; each observes, then acts, and may run twice.

Any step may die anywhere and be run again from its start; the undo of a step that never
ran does nothing. Steps know libvirt's port and the records, and neither Django nor libvirt.
"""

import time
from typing import Protocol

from instances.domain_xml import (
    CONSOLE_FOLDER,
    CONSOLE_POOL,
    build_domain,
    differences,
)
from instances.exceptions import JobAbandoned, StepFailed
from instances.jobs.context import StepContext
from inventory.exceptions import DomainNotFound, HypervisorError, InvalidXml
from inventory.hypervisor.port import DomainState
from inventory.hypervisor.xml import parse_domain

_ON = (DomainState.RUNNING, DomainState.PAUSED)
_POLL_S = 0.2


class Step(Protocol):
    """name: stable, in rows. label: for people. timeout_s: when its worker counts as dead."""

    name: str
    label: str
    timeout_s: int

    def do(self, context: StepContext) -> None: ...

    def undo(self, context: StepContext) -> None: ...


class HoldClaims:
    """First of a launch, so its undo is last: what was claimed goes back once all is gone."""

    name = "hold_claims"
    label = "Cards, cores and memory claimed"
    timeout_s = 120

    def do(self, context: StepContext) -> None:
        if context.spec is None:
            raise StepFailed(
                "The capacity for this instance is no longer held.",
                "the launch found no open claim of its instance",
            )
        if not context.records.gate_is_open():
            raise JobAbandoned(
                "This plan is not available.", "its feature flag is shut"
            )

    def undo(self, context: StepContext) -> None:
        ReleaseClaims().do(context)


class DefineDomain:
    name = "define_domain"
    label = "Machine defined on the host"
    timeout_s = 120

    def do(self, context: StepContext) -> None:
        domain = context.domain
        try:
            if context.hypervisor.domain_state(domain.uuid) in _ON:
                return
        except DomainNotFound:
            pass
        context.hypervisor.ensure_folder_pool(CONSOLE_POOL, CONSOLE_FOLDER)
        try:
            context.hypervisor.define_domain(build_domain(domain))
        except InvalidXml as error:
            raise StepFailed("The machine could not be set up.", str(error)) from error

    def undo(self, context: StepContext) -> None:
        if context.spec is not None:
            UndefineDomain().do(context)


class StartDomain:
    name = "start_domain"
    label = "Machine started with its cards"
    timeout_s = 600

    def do(self, context: StepContext) -> None:
        domain = context.domain
        if context.hypervisor.domain_state(domain.uuid) in _ON:
            return
        if not context.records.gate_is_open():
            raise JobAbandoned(
                "This plan is not available.", "its feature flag is shut"
            )
        context.hypervisor.start_domain(domain.uuid)

    def undo(self, context: StepContext) -> None:
        if context.spec is not None:
            DestroyDomain().do(context)


class ObserveRunning:
    """A guest that dies at once (bad kernel, card that fails) shows within this time."""

    name = "observe_running"
    label = "Machine seen running"
    timeout_s = 120
    settle_s = 1.0

    def do(self, context: StepContext) -> None:
        deadline = time.monotonic() + self.settle_s
        while True:
            state = context.hypervisor.domain_state(context.domain.uuid)
            context.records.note_state(state)
            if state is not DomainState.RUNNING:
                raise StepFailed(
                    "The machine stopped right after its start.",
                    f"the domain is {state} after it was started; see its console",
                )
            if time.monotonic() >= deadline:
                return
            time.sleep(_POLL_S)

    def undo(self, context: StepContext) -> None:
        """Nothing was made."""


class VerifyClaims:
    name = "verify_claims"
    label = "Cards, cores and memory compared with the claim"
    timeout_s = 120

    def do(self, context: StepContext) -> None:
        live = parse_domain(context.hypervisor.domain_xml(context.domain.uuid))
        found = differences(context.domain, live)
        if found:
            raise StepFailed(
                "The machine did not get the hardware that was set aside for it.",
                "; ".join(found),
            )

    def undo(self, context: StepContext) -> None:
        """Nothing was made."""


class DestroyDomain:
    name = "destroy_domain"
    label = "Machine stopped"
    timeout_s = 180

    def do(self, context: StepContext) -> None:
        if context.spec is None:
            return
        uuid = context.spec.uuid
        try:
            context.hypervisor.destroy_domain(uuid)
            state = context.hypervisor.domain_state(uuid)
        except DomainNotFound:
            return
        context.records.note_state(state)
        if state not in (DomainState.OFF, DomainState.CRASHED):
            raise HypervisorError(f"domain {uuid} is {state} after it was destroyed")

    def undo(self, context: StepContext) -> None:
        """What was stopped to be deleted is not started again."""


class UndefineDomain:
    name = "undefine_domain"
    label = "Machine removed from the host"
    timeout_s = 120

    def do(self, context: StepContext) -> None:
        if context.spec is None:
            return
        uuid = context.spec.uuid
        try:
            # A running domain would not go away by this; it would only become transient.
            if context.hypervisor.domain_state(uuid) in _ON:
                raise HypervisorError(f"domain {uuid} still runs; it was not removed")
            context.hypervisor.undefine_domain(uuid)
        except DomainNotFound:
            pass
        context.hypervisor.delete_volume(CONSOLE_POOL, context.spec.console_volume)

    def undo(self, context: StepContext) -> None:
        """What was removed to be deleted is not put back."""


class ReleaseClaims:
    """Only a host that answers "no such domain" proves that its cards are free."""

    name = "release_claims"
    label = "Absence proven, cards released"
    timeout_s = 120

    def do(self, context: StepContext) -> None:
        if context.spec is None:
            return
        try:
            state = context.hypervisor.domain_state(context.spec.uuid)
        except DomainNotFound:
            context.records.release_claims()
            return
        raise HypervisorError(
            f"domain {context.spec.uuid} is still there ({state}); nothing was released"
        )

    def undo(self, context: StepContext) -> None:
        """What is released may be another's by now."""
