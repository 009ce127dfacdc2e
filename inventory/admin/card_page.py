"""What a card's page shows beside its fields: who holds it, its functions, its life."""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest

from inventory.admin.holders import holder_names
from inventory.admin.timeline_part import timeline_part
from inventory.card_reports import reports_about
from inventory.check_times import expected_until_ready
from inventory.models import Card, CardClaim, CardFunction
from inventory.timeline import card_sources

REPORTS_SHOWN = 20


def card_page(request: HttpRequest, object_id: str) -> dict[str, Any]:
    """Return the template's context; twelve queries. An id that is none shows nothing."""
    card = (
        Card.objects.select_related(
            "gpu_model__scrub_image", "gpu_model__test_image"
        ).filter(pk=object_id)
        if object_id.isdecimal()
        else Card.objects.none()
    ).first()
    if card is None:
        return {}
    card_id = card.pk
    holder = CardClaim.objects.filter(card=card_id, released_at=None).first()
    reports = list(reports_about(card)[:REPORTS_SHOWN])
    consumers = {report.claim.consumer for report in reports}
    if holder is not None:
        consumers.add(holder.consumer)
    names = holder_names(consumers)
    return {
        "holder": holder,
        "holder_name": names[holder.consumer] if holder else "",
        "expected": _rounded(expected_until_ready(card)),
        "discrepancies": card.discrepancies.filter(resolved_at=None),
        "alerts": card.alerts.filter(cleared_at=None),
        "reports": [
            {"row": report, "reporter": names[report.claim.consumer]}
            for report in reports
        ],
        "functions": CardFunction.objects.filter(card=card_id),
        **timeline_part(request, card_sources(card)),
    }


def _rounded(expected: timedelta | None) -> str:
    """Return it as a person says it; the empty text for None."""
    if expected is None:
        return ""
    seconds = max(1, round(expected.total_seconds()))
    return f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} min"
