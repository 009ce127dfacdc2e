"""What a job is about, to the runner: an instance or a card.

The runner knows leases and steps; what a step may use and what progress means is here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from instances.choices import (
    CARD_JOBS,
    LAUNCHES,
    RESIZES,
    VERBS,
    Desired,
    JobKind,
    StepState,
)
from instances.jobs import progress
from instances.jobs.card_records import DatabaseCardRecords, under_check
from instances.jobs.card_steps import CardContext
from instances.jobs.context import Machine, StepContext, WantedFilter
from instances.jobs.failure import Failure
from instances.jobs.records import InstanceRecords
from instances.jobs.steps import GATE_IS_SHUT
from instances.jobs.storage_records import InstanceStorage
from instances.log_context import note
from instances.models import Image, Instance, Job, JobStep, PendingResize
from instances.selectors import (
    as_resized,
    disk_plan_of,
    firewall_rules_of,
    held_by,
    host_of,
    spec_of,
)
from inventory import card_checks
from inventory.choices import CardCondition, CheckKind
from inventory.hypervisor.port import Hypervisor
from inventory.ledger import Actor
from inventory.models import Card, Host
from inventory.models.guest_setup import GuestSetup

Connector = Callable[[str], Hypervisor]
_GONE = (CardCondition.MISSING, CardCondition.QUARANTINED, CardCondition.RETIRED)

# A guest that runs would be stopped again; a disk that is being wiped would be missed.
_PAST_RETURN = Q(name="start_domain", state=StepState.DONE) | (
    Q(name="delete_old_disk") & ~Q(state=StepState.PENDING)
)


class Subject(Protocol):
    """One job's subject. Its methods read rows anew at every call."""

    def context(self) -> Any:
        """Return what the job's steps may use."""

    def unwanted(self) -> Failure | None:
        """Say why the work is no longer wanted, if it is not."""

    def host_id(self) -> int | None:
        """Return the host that the work is on; None if on none."""

    def step_begins(self, step: str, done: int, total: int) -> None:
        """Show that `step` begins; in the runner's transaction."""

    def succeeded(self) -> None:
        """Put the subject where the job took it; in the runner's transaction."""

    def failed(self, detail: str) -> None:
        """Put the subject where a job leaves it that failed and is undone."""


def subject_of(
    job: Job, connect_to: Connector, renew_lease: Callable[[int], None]
) -> Subject:
    """renew_lease: keeps the job for so many seconds more; raises LeaseLost."""
    if job.kind in CARD_JOBS:
        return CardSubject(job, connect_to, renew_lease)
    return InstanceSubject(job, connect_to, renew_lease)


@dataclass(frozen=True, slots=True)
class InstanceSubject:
    job: Job
    connect_to: Connector
    renew_lease: Callable[[int], None]

    def context(self) -> StepContext:
        instance = Instance.objects.select_related(
            "account", "plan", "region", "image", "next_image"
        ).get(pk=self.job.for_instance.pk)
        self.job.instance = instance
        held = held_by(instance)
        machine, storage, next_storage = None, None, None
        next_machine, next_disk_bytes = None, 0
        if held is not None:
            host, setup = held.host, held.setup
            note(host=host.pk)
            machine = Machine(self.connect_to(host.libvirt_uri), held.spec)
            storage = _storage(instance, instance.image, host, setup, self.job)
            if instance.next_image is not None:
                next_storage = _storage(
                    instance, instance.next_image, host, setup, self.job
                )
            resize = PendingResize.objects.filter(instance=instance).first()
            next_spec = spec_of(as_resized(instance, resize)) if resize else None
            if resize is not None and next_spec is not None:
                next_machine = Machine(machine.hypervisor, next_spec)
                next_disk_bytes = resize.grows_disk * resize.plan.disk_mib << 20
        return StepContext(
            InstanceRecords(self.job),
            machine,
            storage,
            self.renew_lease,
            next_storage,
            settings.SHUTDOWN_GRACE_S,
            next_machine,
            next_disk_bytes,
            # After the instance was read: what changes from here on is another version.
            WantedFilter(instance.filter_wanted, firewall_rules_of(instance)),
        )

    def unwanted(self) -> Failure | None:
        """All but a delete is given up when the instance is to go or its time is over.

        A launch or resize also when its gate was shut before its guest was started.
        """
        if self.job.kind == JobKind.DELETE:
            return None
        job = Job.objects.filter(pk=self.job.pk)
        if self.job.kind in RESIZES and not job.filter(
            instance__pending_resize__isnull=False
        ):
            # It was the new plan's when its worker died: nothing is left to undo.
            return None
        is_launch = self.job.kind in LAUNCHES
        if job.filter(instance__desired=Desired.DELETED).exists():
            return Failure(
                f"Deleted before it was {'ready' if is_launch else 'done'}.",
                "the instance is to go",
            )
        is_late = job.filter(deadline_at__lt=Now()).exists()
        if is_late and not (self.job.kind in VERBS and self._is_past_return()):
            return Failure(
                "The launch took too long and was undone. Please try again."
                if is_launch
                else "It took too long and was given up. Please try again.",
                f"not done by {self.job.deadline_at:%Y-%m-%d %H:%M:%S} UTC",
            )
        if self._is_shut_out():
            return Failure(GATE_IS_SHUT, "a feature flag is shut")
        return None

    def _is_shut_out(self) -> bool:
        if self.job.kind not in (*LAUNCHES, *RESIZES) or self._has_begun_to_run():
            return False
        return not InstanceRecords(self.job).gate_is_open()

    def _has_begun_to_run(self) -> bool:
        """Say whether its guest may run by now; then a shut gate is nothing to it."""
        starting = JobStep.objects.filter(job=self.job, name="start_domain")
        return starting.exclude(state=StepState.PENDING).exists()

    def _is_past_return(self) -> bool:
        """Say whether to give up would cost more than to go on, however late it is."""
        return JobStep.objects.filter(_PAST_RETURN, job=self.job).exists()

    def host_id(self) -> int | None:
        instance = Instance.objects.get(pk=self.job.for_instance.pk)
        host = host_of(instance)
        return host.pk if host else None

    def step_begins(self, step: str, done: int, total: int) -> None:
        progress.step_begins(self.job, step, done, total)

    def succeeded(self) -> None:
        progress.job_succeeded(self.job)

    def failed(self, detail: str) -> None:
        progress.job_failed(self.job)


def _storage(
    instance: Instance, image: Image, host: Host, setup: GuestSetup, job: Job
) -> InstanceStorage | None:
    plan = disk_plan_of(instance, setup, image)
    if plan is None:
        return None
    return InstanceStorage(instance, image, host, plan, reset=_reset_name(job))


def _reset_name(job: Job) -> str:
    return f"gpucloud-{job.pk}" if job.kind == JobKind.PASSWORD else ""


@dataclass(frozen=True, slots=True)
class CardSubject:
    job: Job
    connect_to: Connector
    renew_lease: Callable[[int], None]

    def context(self) -> CardContext:
        card = self._card()
        note(host=card.host_id)
        return CardContext(
            DatabaseCardRecords(self.job),
            under_check(card, is_scrubbed=self.job.kind == JobKind.SANITISE),
            self.connect_to(card.host.libvirt_uri),
            self.renew_lease,
        )

    def unwanted(self) -> Failure | None:
        condition = self._card().condition
        if condition in _GONE and self.job.kind != JobKind.CLEAR:
            return Failure("The card is no longer there.", f"the card is {condition}")
        return None

    def host_id(self) -> int | None:
        return self._card().host_id

    def step_begins(self, step: str, done: int, total: int) -> None:
        """Nobody is told of each step."""

    def succeeded(self) -> None:
        """Have the host looked at: a check's last step has put the card on sale."""
        if self.job.kind == JobKind.CLEAR:
            host_id = self._card().host_id
            Host.objects.filter(pk=host_id).update(reconcile_due_at=Now())

    def failed(self, detail: str) -> None:
        if self.job.kind == JobKind.CLEAR:
            return
        kind = CheckKind(self.job.kind)
        actor = Actor(f"job:{self.job.pk}", f"{kind.label} in vain: {detail}"[:500])
        card_checks.give_up(self._card().pk, kind, actor)

    def _card(self) -> Card:
        return Card.objects.select_related("host", "gpu_model", "numa_node").get(
            pk=self.job.for_card.pk
        )
