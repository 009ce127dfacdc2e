"""The database behind a job's steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from instances.choices import ABSENT, LAUNCHES, RESIZES, Desired, JobState
from instances.exceptions import LeaseLost
from instances.gates import let_through
from instances.models import Instance, Job, PendingResize, Plan
from instances.release import give_up_next, release_all, take_next
from inventory.hypervisor.port import DomainState
from inventory.ledger import Actor


@dataclass(frozen=True, slots=True)
class InstanceRecords:
    """jobs.context.Records for one job."""

    job: Job

    def gate_is_open(self) -> bool:
        related = ("plan__gpu_model", "region", "account")
        instance = Instance.objects.select_related(*related).get(
            pk=self.job.for_instance.pk
        )
        wanted: Plan | None = None
        if self.job.kind in LAUNCHES:
            wanted = instance.plan
        elif self.job.kind in RESIZES:
            resize = PendingResize.objects.select_related("plan__gpu_model")
            pending = resize.filter(instance=instance).first()
            wanted = pending.plan if pending else None
        # What is there goes on, whatever becomes of its plan.
        return wanted is None or let_through(
            self.job, wanted, instance.region, instance.account
        )

    def take_next_image(self) -> None:
        with self._ours():
            Instance.objects.filter(
                pk=self.job.for_instance.pk, next_image__isnull=False
            ).update(
                image=F("next_image"),
                next_image=None,
                generation=F("generation") + 1,
                updated_at=Now(),
            )

    def is_to_run(self) -> bool:
        return Instance.objects.filter(
            pk=self.job.for_instance.pk, desired=Desired.RUNNING
        ).exists()

    def take_next_claims(self) -> None:
        with self._ours():
            take_next(self.job.for_instance.pk, self._actor("it has its new plan"))

    def release_next_claims(self) -> None:
        with transaction.atomic():
            give_up_next(self.job.for_instance.pk, self._actor("its plan is as before"))

    def note_state(self, state: DomainState | None) -> None:
        Instance.objects.filter(pk=self.job.for_instance.pk).update(
            observed=state or ABSENT, observed_at=Now()
        )

    def release_claims(self) -> None:
        actor = self._actor("the domain is proven absent")
        with transaction.atomic():
            release_all(self.job.for_instance.uuid, actor)

    def note_filter(self, version: int) -> None:
        # Also of a job that is being undone: what it defined before is on the host again.
        with self._ours(JobState.RUNNING, JobState.UNWINDING):
            Instance.objects.filter(
                pk=self.job.for_instance.pk, filter_applied__lt=version
            ).update(filter_applied=version)

    @contextmanager
    def _ours(self, *states: JobState) -> Iterator[None]:
        """Undo the block if the job was taken over meanwhile. Raises LeaseLost.

        states: that the job may be in. Another worker may be undoing what the block would
        put in force.
        """
        ours = Job.objects.filter(
            pk=self.job.pk,
            lease_token=self.job.lease_token,
            state__in=states or (JobState.RUNNING,),
        )
        with transaction.atomic():
            yield
            if not ours.update(attempts=F("attempts")):
                raise LeaseLost(self.job.pk)

    def _actor(self, why: str) -> Actor:
        return Actor(
            f"job:{self.job.pk}",
            f"{self.job.get_kind_display()} of {self.job.for_instance.label} "
            f"for {self.job.actor}: {why}",
        )
