"""The database behind the steps of a card's jobs."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings

from instances.jobs.card_steps import CardUnderCheck, CheckGuest
from instances.models import Job
from inventory import card_checks
from inventory.choices import CardCondition, CheckKind, CheckOutcome
from inventory.console_report import Expectation
from inventory.ledger import Actor, clock
from inventory.models import Card, CheckImage, HostCpu
from inventory.topology import PciAddress

_NAMESPACE = uuid.UUID("0d8a51f2-61a4-4b7c-8f5e-6f1d0a8f4c11")


def maintenance_uuid(card_id: int) -> str:
    """Return the UUID of the domain that checks this card; always the same one."""
    return str(uuid.uuid5(_NAMESPACE, f"card {card_id}"))


def under_check(card: Card, *, is_scrubbed: bool) -> CardUnderCheck:
    """Return the card as its steps need it; three queries.

    is_scrubbed: the same job has overwritten it, so that the test must find zeros. After
    a boot alone a card's memory holds whatever it likes.
    """
    model = card.gpu_model
    functions = card.functions.order_by("number").values_list("number", flat=True)
    return CardUnderCheck(
        card_id=card.pk,
        uuid=maintenance_uuid(card.pk),
        name=f"gpucloud-card-{card.pk}",
        domain_type=card.host.domain_type,
        functions=tuple(
            PciAddress.parse(f"{card.slot_path}.{number}") for number in functions
        ),
        node=card.numa_node.number,
        cpus=_host_cpus(card),
        expected=Expectation(
            pci_ids=tuple(model.pci_ids.values_list("pci_id", flat=True)),
            scrub_bytes=(model.scrub_mib or model.memory_mib) << 20,
            functions=model.function_count,
            bar_mib=model.bar_mib,
            link_width=model.link_width,
            is_clean=is_scrubbed,
        ),
        scrub=_guest(model.scrub_image),
        test=_guest(model.test_image),
        is_skipped=settings.LAB_SKIPS_SANITISING,
        is_retired=card.condition == CardCondition.RETIRED,
    )


def _host_cpus(card: Card) -> tuple[int, ...]:
    """Return one CPU that the host keeps for itself; none if it keeps none there."""
    cpus = HostCpu.objects.filter(numa_node=card.numa_node, is_reserved=True)
    return tuple(cpus.order_by("number").values_list("number", flat=True)[:1])


def _guest(image: CheckImage | None) -> CheckGuest | None:
    if image is None:
        return None
    return CheckGuest(
        image.slug,
        image.kernel_path,
        image.initrd_path,
        image.cmdline,
        image.memory_mib,
        image.timeout_s,
    )


@dataclass(slots=True)
class DatabaseCardRecords:
    """card_steps.CardRecords for one job."""

    job: Job
    _started_at: datetime | None = field(default=None)

    def begin(self, kind: str) -> None:
        self._started_at = card_checks.begin_check(
            self._card_id, CheckKind(kind), self._actor(f"{kind} begins")
        )

    def passed(self, kind: str, finding: str, image: str, console: str) -> None:
        self._record(kind, CheckOutcome.PASSED, finding, image, console)

    def failed(self, kind: str, finding: str, image: str, console: str) -> None:
        self._record(kind, CheckOutcome.FAILED, finding, image, console)

    def skipped(self, kind: str) -> None:
        self._record(kind, CheckOutcome.SKIPPED, "lab setting: not done", "", "")

    def missing(self) -> None:
        card_checks.note_missing(
            self._card_id, self._actor("its host lists it no more")
        )

    def admit(self) -> None:
        card_checks.admit(self._card_id, self._actor("checked, and as expected"))

    def _record(
        self, kind: str, outcome: CheckOutcome, finding: str, image: str, console: str
    ) -> None:
        result = card_checks.CheckResult(
            CheckKind(kind),
            outcome,
            finding,
            self._started_at or clock(),
            image,
            console,
        )
        card_checks.record_check(self._card_id, result, self._actor("").name)

    @property
    def _card_id(self) -> int:
        return self.job.for_card.pk

    def _actor(self, reason: str) -> Actor:
        return Actor(f"job:{self.job.pk}", reason)
