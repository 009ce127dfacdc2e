"""The steps of work on an instance that is there: each observes, then acts; may run twice.

What they undo is only what they did: claims, disk and address are the instance's own, and
stay until it is deleted.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from instances.cloud_init import digest_of, files_of
from instances.exceptions import StepFailed
from instances.jobs.context import StepContext, Storage
from instances.jobs.disk_steps import (
    CreateDisk,
    DeleteDisk,
    EnsureImage,
    WriteSeed,
    need_whole_image,
)
from instances.jobs.steps import DefineDomain, DestroyDomain, HoldClaims, held
from inventory.exceptions import (
    DomainNotFound,
    HostUnreachable,
    HypervisorError,
    VolumeBusy,
)

_POLL_S = 0.5
# Above what a seed with the largest user data has.
_SEED_BYTES = 4 << 20


class ClaimsHeld(HoldClaims):
    label = "Cards, cores and memory still held"

    def undo(self, context: StepContext) -> None:
        """They stay the instance's own."""


class ShutDown:
    """By ACPI, as a person presses the button; after the grace the plug is pulled."""

    name = "shut_down"
    label = "Guest shut down"
    timeout_s = 180

    def do(self, context: StepContext) -> None:
        machine = context.machine
        if machine is None:
            return
        if machine.is_on():
            self._ask(context)
            DestroyDomain().do(context)
        else:
            context.records.note_state(machine.state())

    def _ask(self, context: StepContext) -> None:
        """Return once the guest is off, or its grace is over."""
        machine = held(context)
        deadline = time.monotonic() + context.grace_s
        try:
            machine.hypervisor.shutdown_domain(machine.spec.uuid)
        except DomainNotFound:
            return
        except HostUnreachable:
            # Its guest has not been asked yet.
            raise
        except HypervisorError:
            # Refused: it went off meanwhile, or it is in a state without ACPI.
            if machine.is_on():
                return
        while machine.is_on() and time.monotonic() < deadline:
            context.renew_lease(self.timeout_s)
            time.sleep(_POLL_S)

    def undo(self, context: StepContext) -> None:
        """What was shut down at its owner's wish is not started again."""


class StopGuest(DestroyDomain):
    """Its disk is about to go: there is nothing that it could save."""

    name = "stop_guest"


class RedefineDomain(DefineDomain):
    """From the claims as they are now, whatever became of the document on the host."""

    def do(self, context: StepContext) -> None:
        storage = context.storage
        if storage is not None:
            hypervisor, plan = held(context).hypervisor, storage.plan
            for volume in (plan.volume, plan.seed_volume):
                if hypervisor.volume(plan.disk_pool, volume) is None:
                    raise StepFailed(
                        "The disk of this Linode is missing. Rebuild it.",
                        f"there is no volume {volume} in {plan.disk_pool}",
                    )
        super().do(context)

    def undo(self, context: StepContext) -> None:
        """A domain that is off needs what is claimed for it, and keeps it."""


class EnsureNextImage(EnsureImage):
    """While the guest still runs: an image that cannot be had costs it nothing."""

    def storage_of(self, context: StepContext) -> Storage | None:
        # None once it is taken: then its disk is made from it already.
        return context.next_storage


class DeleteOldDisk(DeleteDisk):
    """The point of no return of a rebuild. A host that refuses leaves it the old disk."""

    name = "delete_old_disk"
    label = "Old disk wiped and deleted"

    def do(self, context: StepContext) -> None:
        if context.next_storage is not None:
            need_whole_image(context.next_storage)
        super().do(context)


class TakeNextImage:
    name = "take_next_image"
    label = "Old image given up"
    timeout_s = 60

    def do(self, context: StepContext) -> None:
        context.records.take_next_image()

    def undo(self, context: StepContext) -> None:
        """The old disk is gone."""


class RecreateDisk(CreateDisk):
    """A disk that is whole stays, though what comes after it may fail."""

    def do(self, context: StepContext) -> None:
        with _nothing_half_made(partial(super().undo, context)):
            super().do(context)

    def undo(self, context: StepContext) -> None:
        """What is whole is the instance's own: it can be booted."""


class WriteNewSeed(WriteSeed):
    def do(self, context: StepContext) -> None:
        with _nothing_half_made(partial(super().undo, context)):
            super().do(context)

    def undo(self, context: StepContext) -> None:
        """As its disk."""


@contextmanager
def _nothing_half_made(undo: Callable[[], None]) -> Iterator[None]:
    try:
        yield
    except VolumeBusy:
        # The host is still at it: the step is done again once it is not.
        raise
    except (HypervisorError, StepFailed):
        with suppress(HypervisorError):
            undo()
        raise


class RecallSeed:
    """The seed is the only home of what a guest was set up with."""

    name = "recall_seed"
    label = "Keys and user data read from its seed"
    timeout_s = 120

    def do(self, context: StepContext) -> None:
        storage = _storage(context)
        files = _seed_on_host(context)
        if files is None:
            raise StepFailed(
                "What the machine was set up with cannot be read. Rebuild it instead.",
                f"{storage.plan.seed_volume} is no seed, or is not there",
            )
        storage.recall(files)

    def undo(self, context: StepContext) -> None:
        """The seed was only read."""


class RewriteSeed(WriteSeed):
    """A machine whose seed is missing would not boot: it is never left without one."""

    label = "Password written for the next boot"

    def do(self, context: StepContext) -> None:
        _storage(context)
        if held(context).is_on():
            raise StepFailed(
                "The Linode must be powered off to reset its password.",
                "its domain runs",
            )
        super().do(context)

    def undo(self, context: StepContext) -> None:
        """Leave it with the old seed or the new one, and none that is torn."""
        storage = _storage(context)
        files, new = _seed_on_host(context), digest_of(storage.seed_files())
        if files is None or digest_of(files) not in (storage.noted_seed(), new):
            super().do(context)


def _seed_on_host(context: StepContext) -> dict[str, bytes] | None:
    plan = _storage(context).plan
    content = held(context).hypervisor.read_volume_tail(
        plan.disk_pool, plan.seed_volume, _SEED_BYTES
    )
    return files_of(content)


def _storage(context: StepContext) -> Storage:
    if context.storage is None:
        raise StepFailed(
            "This image has no password to reset.", "the guest boots a kernel"
        )
    return context.storage
