"""The database behind a job's steps."""

from dataclasses import dataclass

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from flags.availability import is_available
from instances.choices import LAUNCHES, Desired
from instances.models import Instance, Job
from instances.release import give_up_next, release_all, take_next
from inventory.hypervisor.port import DomainState
from inventory.ledger import Actor


@dataclass(frozen=True, slots=True)
class InstanceRecords:
    """jobs.context.Records for one job."""

    job: Job

    def gate_is_open(self) -> bool:
        if self.job.kind not in LAUNCHES:
            # What is there goes on, whatever becomes of its plan.
            return True
        instance = Instance.objects.select_related("plan", "account").get(
            pk=self.job.for_instance.pk
        )
        return is_available(instance.plan.flag_name, instance.account)

    def take_next_image(self) -> None:
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
        with transaction.atomic():
            take_next(self.job.for_instance.pk, self._actor("it has its new plan"))

    def release_next_claims(self) -> None:
        with transaction.atomic():
            give_up_next(self.job.for_instance.pk, self._actor("its plan is as before"))

    def note_state(self, state: DomainState) -> None:
        Instance.objects.filter(pk=self.job.for_instance.pk).update(
            observed=state, observed_at=Now()
        )

    def release_claims(self) -> None:
        actor = self._actor("the domain is proven absent")
        with transaction.atomic():
            release_all(self.job.for_instance.uuid, actor)

    def _actor(self, why: str) -> Actor:
        return Actor(
            f"job:{self.job.pk}",
            f"{self.job.get_kind_display()} of {self.job.for_instance.label} "
            f"for {self.job.actor}: {why}",
        )
