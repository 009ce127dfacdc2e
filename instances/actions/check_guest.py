"""Remove the guest that a check of a card left behind, at a person's word."""

from django.db import transaction

from instances.choices import ENDED_JOB_STATES, JobKind
from instances.exceptions import CardBusy
from instances.jobs.card_records import maintenance_uuid
from instances.jobs.queueing import queue
from instances.models import Job
from instances.tasks import enqueue_job
from inventory.card_checks import locked_card
from inventory.choices import DiscrepancyKind
from inventory.models import Discrepancy

# When people are told; a host that is silent is asked until it answers.
_ALERT_AFTER_S = 1800


def is_check_guest(discrepancy: Discrepancy) -> bool:
    """Say whether the stray domain is one of ours: the one that checks this card."""
    card = discrepancy.card
    return (
        discrepancy.kind == DiscrepancyKind.STRAY_DOMAIN
        and card is not None
        and card.host_id == discrepancy.host_id
        and discrepancy.subject == maintenance_uuid(card.pk)
    )


def remove_check_guest(card_id: int, actor: str) -> Job:
    """Have a worker remove the card's own check guest, whose UUID no tenant can have.

    Raises CardBusy while another job works on the card: then the guest is that job's.
    """
    with transaction.atomic():
        # As card_work.plan() does, so that no check begins in between.
        _, card = locked_card(card_id)
        at_work = card.jobs.exclude(state__in=ENDED_JOB_STATES).first()
        if at_work is not None:
            raise CardBusy(f"{card}: {at_work} works on it, and the guest is its own")
        job = queue(JobKind.CLEAR, actor, _ALERT_AFTER_S, card=card)
        enqueue_job(job.pk)
    return job
