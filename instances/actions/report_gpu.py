"""Take a customer's word that a card of an instance is bad; the card stays in its guest."""

from django.db import transaction

from instances.choices import EventAction, EventStatus
from instances.exceptions import InvalidRequest
from instances.models import Event, Instance
from inventory.card_reports import record_report
from inventory.choices import ReportedProblem
from inventory.ledger import lock_hosts_of
from inventory.models import CardClaim, CardReport

NOT_ITS_GPU = "gpu must be the id of a GPU that this Linode has"


def report_gpu(
    instance: Instance,
    card_id: int,
    problem: ReportedProblem,
    text: str,
    username: str,
) -> CardReport:
    """Keep the report, tell staff, and write the customer's event; the first stands.

    Raises InvalidRequest if the instance has no such card now.
    """
    with transaction.atomic():
        # So that the card is not released, and tested, in between.
        lock_hosts_of(instance.uuid)
        claim = (
            CardClaim.objects.filter(
                consumer=instance.uuid, card=card_id, released_at=None, is_hold=False
            )
            .select_related("card__gpu_model", "card__host")
            .first()
        )
        if claim is None:
            raise InvalidRequest([("gpu", NOT_ITS_GPU)])
        report, is_new = record_report(claim, problem, text, f"user:{username}")
        if is_new:
            Event.objects.create(
                account_id=instance.account_id,
                action=EventAction.GPU_REPORT,
                status=EventStatus.NOTIFICATION,
                entity_id=instance.pk,
                entity_label=instance.label,
                username=username,
                message=f"{claim.card.gpu_model.name}: {problem.label}",
                percent_complete=100,
            )
    return report
