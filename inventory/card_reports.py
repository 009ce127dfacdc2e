"""Keep what a card's user says is wrong with it, and tell staff.

The card stays with its user. Once released it is sanitised and tested like any other, and
only that puts it on sale again and ends the alert (card_checks.admit).
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery

from inventory.alerts import Subject, raise_alert
from inventory.choices import AlertClass, CheckKind, CheckOutcome, ReportedProblem
from inventory.ledger import clock
from inventory.models import Card, CardCheck, CardClaim, CardReport

SOURCE, CODE = "user-report", "reported"


def record_report(
    claim: CardClaim, problem: ReportedProblem, text: str, reporter: str
) -> tuple[CardReport, bool]:
    """Return the claim's report and whether it is new; a second one changes nothing.

    claim: with its card, open and no hold, its host locked by the caller's transaction.
    reporter: user:NAME.
    """
    report, is_new = CardReport.objects.get_or_create(
        claim=claim,
        defaults={
            "problem": problem,
            "text": text,
            "reported_at": clock(),
            "reported_by": reporter,
        },
    )
    if is_new:
        message = f"{reporter} reports: {problem.label}. {text}"
        subject = Subject(card=claim.card)
        raise_alert(subject, AlertClass.WARNING, SOURCE, CODE, message)
    return report, is_new


def reports_about(card: Card) -> QuerySet[Any]:
    """Return the card's reports, newest first, with claim.

    Each has check_id and verdict (a CheckOutcome): of the first test, or first failure,
    after its user let go; None while there is none.
    """
    checks = CardCheck.objects.filter(
        Q(kind=CheckKind.TEST) | Q(outcome=CheckOutcome.FAILED),
        card=card,
        started_at__gte=OuterRef("claim__released_at"),
    ).order_by("pk")
    return (
        CardReport.objects.filter(claim__card=card)
        .select_related("claim")
        .annotate(
            check_id=Subquery(checks.values("pk")[:1]),
            verdict=Subquery(checks.values("outcome")[:1]),
        )
        .order_by("-pk")
    )


def reported_by(consumer: UUID) -> dict[int, datetime]:
    """Return card id -> when the consumer reported it, of cards that it holds; a query."""
    reports = CardReport.objects.filter(
        claim__consumer=consumer, claim__released_at=None
    )
    return dict(reports.values_list("claim__card", "reported_at"))
