"""The database behind a job's steps."""

from dataclasses import dataclass

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from flags.availability import is_available
from instances.choices import LAUNCHES
from instances.models import Instance, Job
from instances.release import release_all
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

    def note_state(self, state: DomainState) -> None:
        Instance.objects.filter(pk=self.job.for_instance.pk).update(
            observed=state, observed_at=Now()
        )

    def release_claims(self) -> None:
        actor = Actor(
            f"job:{self.job.pk}",
            f"{self.job.get_kind_display()} of {self.job.for_instance.label} "
            f"for {self.job.actor}: the domain is proven absent",
        )
        with transaction.atomic():
            release_all(self.job.for_instance.uuid, actor)
