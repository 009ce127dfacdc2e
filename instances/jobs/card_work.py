"""Decide which cards are to be checked next, and write their jobs; at most so many a host."""

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from instances.choices import CARD_JOBS, ENDED_JOB_STATES, JobKind
from instances.jobs.queueing import queue
from instances.models import Job
from inventory.alerts import Subject, clear_alerts, raise_alert
from inventory.card_checks import needs_sanitising
from inventory.choices import (
    AlertClass,
    CardCondition,
    DiscrepancyKind,
    HostConnection,
    HostPolicy,
)
from inventory.ledger import lock_host
from inventory.models import Alert, Card, CardClaim, Discrepancy, Host
from inventory.models.check_image import problem_of_timeouts

_SOURCE = "card-checks"
_NO_IMAGE = "no-image"
_NO_TIME = "no-time"
ASK_A_PERSON = "mass-quarantine"
_TO_DO = (CardCondition.UNVERIFIED, CardCondition.DIRTY)
# A job cut off where nothing continues it leaves its card in these.
_IN_WORK = (CardCondition.SANITISING, CardCondition.TESTING)
_UNCLEAN = (CardCondition.DIRTY, CardCondition.SANITISING)
# When people are told; the work itself is tried until the host answers.
_ALERT_AFTER_S = 1800
_SYSTEM = "system:card-work"


@transaction.atomic
def plan(host_id: int) -> list[int]:
    """Queue as many checks as the host has room for; return the jobs to enqueue."""
    host = lock_host(host_id)
    if host.connection != HostConnection.OK or host.policy in (
        HostPolicy.MAINTENANCE,
        HostPolicy.RETIRED,
    ):
        return []
    open_jobs = Job.objects.filter(kind__in=CARD_JOBS).exclude(
        state__in=ENDED_JOB_STATES
    )
    room = settings.CARDS_CLEANED_PER_HOST - open_jobs.filter(card__host=host).count()
    job_ids: list[int] = []
    waiting = _waiting(host).exclude(pk__in=open_jobs.values("card"))
    for card in waiting.select_related(
        "gpu_model__scrub_image", "gpu_model__test_image"
    ):
        if len(job_ids) >= room:
            break
        kind = JobKind.TEST
        if card.condition in _UNCLEAN or needs_sanitising(card):
            kind = JobKind.SANITISE
        if _can_be_checked(card, kind):
            job_ids.append(queue(kind, _SYSTEM, _ALERT_AFTER_S, card=card).pk)
    return job_ids


def _waiting(host: Host) -> QuerySet[Card]:
    held = CardClaim.objects.filter(card=OuterRef("pk"), released_at=None)
    asked = Alert.objects.filter(
        card=OuterRef("pk"), source=_SOURCE, code=ASK_A_PERSON, cleared_at=None
    )
    # A guest that does not hold it has it, or may start with it: a check would meet it.
    strange = Discrepancy.objects.filter(
        card=OuterRef("pk"), kind=DiscrepancyKind.UNCLAIMED_HOSTDEV, resolved_at=None
    )
    return Card.objects.filter(
        ~Exists(held),
        ~Exists(asked),
        ~Exists(strange),
        host=host,
        condition__in=(*_TO_DO, *_IN_WORK),
    ).order_by("condition_changed_at", "pk")


def _can_be_checked(card: Card, kind: JobKind) -> bool:
    """Say whether the card's model names what is needed; if not, an alert says why."""
    model, subject = card.gpu_model, Subject(card=card)
    images = {"test": model.test_image}
    if kind is JobKind.SANITISE:
        images = {"scrub": model.scrub_image, **images}
    missing = [word for word, image in images.items() if image is None]
    problems = {
        _NO_IMAGE: f"{model} has no {' and no '.join(missing)} image: set it under "
        f"Inventory > GPU models, or its cards stay {card.get_condition_display()}."
        if missing
        else "",
        _NO_TIME: problem_of_timeouts(*images.values()),
    }
    if settings.LAB_SKIPS_SANITISING:
        problems = dict.fromkeys(problems, "")
    for code, problem in problems.items():
        if problem:
            raise_alert(subject, AlertClass.WARNING, _SOURCE, code, problem)
        else:
            clear_alerts(subject, _SOURCE, code, _SYSTEM)
    return not any(problems.values())


def hosts_with_work() -> list[int]:
    """Return the ids of hosts on which a card waits for its check."""
    return sorted(
        set(
            Card.objects.filter(
                condition__in=(*_TO_DO, *_IN_WORK),
                host__connection=HostConnection.OK,
            )
            .exclude(host__policy__in=[HostPolicy.MAINTENANCE, HostPolicy.RETIRED])
            .values_list("host_id", flat=True)
        )
    )
