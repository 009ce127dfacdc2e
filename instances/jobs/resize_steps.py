"""The steps of a resize: the new claims first, the old ones go when the guest has the new.

Until take_next_claims the instance is what it was: undone, the guest has its old claims
again, and the new ones are released once the host shows that nothing of them is in use.
"""

import logging
from dataclasses import replace
from typing import Any

from instances.exceptions import StepFailed
from instances.jobs.context import StepContext
from instances.jobs.power_steps import ClaimsHeld, RedefineDomain, ShutDown
from instances.jobs.steps import DefineDomain, StartDomain, VerifyClaims, held
from inventory.exceptions import HostUnreachable, HypervisorError
from inventory.hypervisor.xml import parse_domain

logger = logging.getLogger(__name__)


def _next(context: StepContext) -> StepContext:
    """Return the context of the machine as it is to be; once it is so, as it is."""
    return replace(context, machine=context.next_machine or context.machine)


class NextClaimsHeld(ClaimsHeld):
    """First, so its undo is last: the new claims go when all else is as it was."""

    label = "Cards, cores and memory of both plans held"

    def do(self, context: StepContext) -> None:
        super().do(context)
        if context.next_machine is None:
            raise StepFailed(
                "The capacity for the new plan is no longer held.",
                "the job found no open claim of the plan that it resizes to",
            )

    def undo(self, context: StepContext) -> None:
        if context.next_machine is None:
            return
        machine = held(context)
        state = machine.state()
        if state is not None and state.is_on and (taken := _taken(context)):
            raise HypervisorError(
                f"domain {machine.spec.uuid} runs with {taken} of what it was to be "
                "resized to; nothing was released"
            )
        context.records.note_state(state)
        context.records.release_next_claims()


def _taken(context: StepContext) -> str:
    """Return what the domain's document has of the new plan's claims alone."""
    machine = held(context)
    if context.next_machine is None:
        return ""
    live = parse_domain(machine.hypervisor.domain_xml(machine.spec.uuid))
    old, new = machine.spec, context.next_machine.spec
    pinned = {cpu for cpus in live.vcpu_pins.values() for cpu in cpus}
    new_nodes = {c.node for c in new.cells} - {c.node for c in old.cells}
    found: dict[str, set[Any]] = {
        "cards": set(live.hostdevs) & set(new.hostdevs) - set(old.hostdevs),
        "CPUs": pinned & set(new.vcpu_pins.values()) - set(old.vcpu_pins.values()),
        "memory of nodes": set(live.memory_nodes) & new_nodes,
        "MiB of memory": {live.memory_mib}
        if live.memory_mib > old.memory_mib
        else set(),
    }
    return "; ".join(
        f"{what} {', '.join(map(str, sorted(each)))}"
        for what, each in found.items()
        if each
    )


class ShutDownToResize(ShutDown):
    name = "shut_down_to_resize"

    def undo(self, context: StepContext) -> None:
        """Start what ran before; what cannot be started is left off, and shown so."""
        machine = held(context)
        state = machine.state()
        is_off = state is not None and not state.is_on
        if context.records.is_to_run() and is_off and not _taken(context):
            try:
                machine.hypervisor.start_domain(machine.spec.uuid)
            except HostUnreachable:
                raise
            except HypervisorError as error:
                logger.warning(
                    "%s cannot be started again: %s", machine.spec.uuid, error
                )
        context.records.note_state(machine.state())


class DefineNext(RedefineDomain):
    name = "define_next"
    label = "Machine defined with the new plan's claims"

    def do(self, context: StepContext) -> None:
        super().do(_next(context))

    def undo(self, context: StepContext) -> None:
        """A domain that is off uses nothing; the next boot defines it anew."""
        if context.next_machine is None:
            return
        try:
            DefineDomain().do(context)
        except HostUnreachable:
            raise
        except HypervisorError as error:
            logger.warning(
                "%s is not defined as before: %s", held(context).spec.uuid, error
            )


class GrowDisk:
    """While the guest is off. A disk that has grown stays so: it cannot be made smaller."""

    name = "grow_disk"
    label = "Disk grown to the new plan's size"
    timeout_s = 300

    def do(self, context: StepContext) -> None:
        storage, size = context.storage, context.next_disk_bytes
        if storage is None or not size:
            return
        machine, plan = held(context), storage.plan
        facts = machine.hypervisor.volume(plan.disk_pool, plan.volume)
        if facts is None:
            raise StepFailed(
                "The Linode's disk cannot be found.", f"{plan.volume} is not there"
            )
        if facts.capacity < size and not machine.is_on():
            machine.hypervisor.resize_volume(plan.disk_pool, plan.volume, size)

    def undo(self, context: StepContext) -> None:
        """The guest may have used the new part by now."""


class StartNext(StartDomain):
    def undo(self, context: StepContext) -> None:
        # Once the new claims are its own, it runs with what it holds.
        if context.next_machine is not None:
            super().undo(context)


class VerifyNext(VerifyClaims):
    def do(self, context: StepContext) -> None:
        super().do(_next(context))


class TakeNextClaims:
    """The point of no return: after it the instance has the new plan."""

    name = "take_next_claims"
    label = "New plan in force, old cards released"
    timeout_s = 120

    def do(self, context: StepContext) -> None:
        context.records.take_next_claims()

    def undo(self, context: StepContext) -> None:
        """What is released may be another's by now."""
