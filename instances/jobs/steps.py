"""The steps that jobs are made of; each observes, then acts, and may run twice.

Any step may die anywhere and be run again from its start; the undo of a step that never
ran does nothing. Steps know libvirt's port and the records, and neither Django nor libvirt.
"""

import time
from contextlib import suppress
from typing import Protocol, TypeVar

from instances.domain_xml import build_domain, differences
from instances.exceptions import JobAbandoned, StepFailed
from instances.jobs.context import Machine, StepContext
from instances.network_filter import filter_name, filters_of
from inventory.exceptions import DomainNotFound, HypervisorError, InvalidXml
from inventory.hypervisor.console import (
    CONSOLE_FOLDER,
    CONSOLE_POOL,
    console_volume,
)
from inventory.hypervisor.port import DomainState
from inventory.hypervisor.xml import parse_domain

GATE_IS_SHUT = "This plan is not available."
_POLL_S = 0.2


C = TypeVar("C", contravariant=True)


class Step(Protocol[C]):
    """name: stable, in rows. label: for people. timeout_s: when its worker counts as dead.

    C: what the step may use, a StepContext or a CardContext.
    """

    name: str
    label: str
    timeout_s: int

    def do(self, context: C) -> None: ...

    def undo(self, context: C) -> None: ...


def held(context: StepContext) -> Machine:
    if context.machine is None:
        raise StepFailed(
            "The capacity for this instance is no longer held.",
            "the job found no open claim of its instance",
        )
    return context.machine


class HoldClaims:
    """First of a launch, so its undo is last: what was claimed goes back once all is gone."""

    name = "hold_claims"
    label = "Cards, cores and memory claimed"
    timeout_s = 120

    def do(self, context: StepContext) -> None:
        held(context)

    def undo(self, context: StepContext) -> None:
        ReleaseClaims().do(context)


def define_filter(context: StepContext) -> None:
    """Have the host know the instance's filter as it is wanted; a guest heeds it at once."""
    machine, wanted = held(context), context.wanted_filter
    if machine.spec.nic is not None:
        for document in filters_of(machine.spec.uuid, machine.spec.nic, wanted.rules):
            machine.hypervisor.define_filter(document)
    context.records.note_filter(wanted.version)


class DefineDomain:
    name = "define_domain"
    label = "Machine defined on the host"
    timeout_s = 240

    def do(self, context: StepContext) -> None:
        machine = held(context)
        if machine.is_on():
            return
        machine.hypervisor.ensure_folder_pool(CONSOLE_POOL, CONSOLE_FOLDER)
        try:
            define_filter(context)
            machine.hypervisor.define_domain(build_domain(machine.spec))
        except InvalidXml as error:
            raise StepFailed("The machine could not be set up.", str(error)) from error

    def undo(self, context: StepContext) -> None:
        UndefineDomain().do(context)


class StartDomain:
    name = "start_domain"
    label = "Machine started with its cards"
    timeout_s = 600

    def do(self, context: StepContext) -> None:
        machine = held(context)
        if machine.is_on():
            return
        # The last moment: a guest that runs is left alone, whatever becomes of its plan.
        if not context.records.gate_is_open():
            raise JobAbandoned(GATE_IS_SHUT, "a feature flag is shut")
        machine.hypervisor.start_domain(machine.spec.uuid)

    def undo(self, context: StepContext) -> None:
        DestroyDomain().do(context)


class ObserveRunning:
    """A guest that dies at once (bad kernel, card that fails) shows within this time."""

    name = "observe_running"
    label = "Machine seen running"
    timeout_s = 120
    settle_s = 1.0
    # Of a start that a dead worker asked for: libvirt pins and clears its memory first.
    starting_s = 300.0

    def do(self, context: StepContext) -> None:
        machine = held(context)
        patience = time.monotonic() + self.starting_s
        deadline = time.monotonic() + self.settle_s
        while True:
            state = machine.hypervisor.domain_state(machine.spec.uuid)
            context.records.note_state(state)
            if state is DomainState.PAUSED and time.monotonic() < patience:
                context.renew_lease(self.timeout_s)
                deadline = time.monotonic() + self.settle_s
            elif state is not DomainState.RUNNING:
                raise StepFailed(
                    "The machine stopped right after its start.",
                    f"the domain is {state} after it was started; see its console",
                )
            elif time.monotonic() >= deadline:
                return
            time.sleep(_POLL_S)

    def undo(self, context: StepContext) -> None:
        """Nothing was made."""


class VerifyClaims:
    name = "verify_claims"
    label = "Cards, cores and memory compared with the claim"
    timeout_s = 120

    def do(self, context: StepContext) -> None:
        machine = held(context)
        document = machine.hypervisor.domain_xml(machine.spec.uuid)
        found = differences(machine.spec, parse_domain(document))
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
        machine = context.machine
        if machine is None:
            return
        if machine.state() is not None:
            with suppress(DomainNotFound):
                machine.hypervisor.destroy_domain(machine.spec.uuid)
        state = machine.state()
        context.records.note_state(state)
        if state is not None and state.is_on:
            raise HypervisorError(
                f"domain {machine.spec.uuid} is {state} after it was destroyed"
            )

    def undo(self, context: StepContext) -> None:
        """What was stopped to be deleted is not started again."""


class UndefineDomain:
    name = "undefine_domain"
    label = "Machine removed from the host"
    timeout_s = 120

    def do(self, context: StepContext) -> None:
        machine = context.machine
        if machine is None:
            return
        if machine.is_on():
            # To undefine a running domain only makes it transient; it would run on.
            raise HypervisorError(
                f"domain {machine.spec.uuid} still runs; it was not removed"
            )
        with suppress(DomainNotFound):
            machine.hypervisor.undefine_domain(machine.spec.uuid)
        if machine.spec.nic is not None:
            machine.hypervisor.undefine_filter(filter_name(machine.spec.uuid))
        machine.hypervisor.delete_volume(
            CONSOLE_POOL, console_volume(machine.spec.uuid)
        )

    def undo(self, context: StepContext) -> None:
        """What was removed to be deleted is not put back."""


class ReleaseClaims:
    """Only a host that answers "no such domain" proves that its cards are free."""

    name = "release_claims"
    label = "Absence proven, cards released"
    timeout_s = 120

    def do(self, context: StepContext) -> None:
        machine = context.machine
        if machine is None:
            return
        state = machine.state()
        if state is not None:
            raise HypervisorError(
                f"domain {machine.spec.uuid} is still there ({state}); "
                "nothing was released"
            )
        context.records.release_claims()

    def undo(self, context: StepContext) -> None:
        """What is released may be another's by now."""
