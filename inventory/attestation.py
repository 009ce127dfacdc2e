"""What was done to cards before their present holder had them, and digests of it.

Checks are append-only and a claim never moves, so that whoever asks later gets the same.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Q, Subquery

from inventory.choices import CheckKind, CheckOutcome
from inventory.models import Card, CardCheck, CardClaim


@dataclass(frozen=True, slots=True)
class CardEvidence:
    """One card that a consumer holds by `claim`. was_used: some guest had it before.

    checks: oldest first, from the end of the last use, or from the beginning, until the
    claim. Of a hold that was taken up, that is until the hold.
    """

    claim: CardClaim
    was_used: bool
    checks: tuple[CardCheck, ...]

    @property
    def card(self) -> Card:
        return self.claim.card

    def has_passed(self, kind: CheckKind) -> bool:
        """Say whether a check of that kind was made and passed; a skipped one was not."""
        wanted = (kind, CheckOutcome.PASSED)
        return wanted in [(check.kind, check.outcome) for check in self.checks]


def evidence_for(consumer: UUID, claim_set: int) -> list[CardEvidence]:
    """Return the evidence of each card that the consumer holds, by node and slot.

    Two queries.
    """
    # A card that was kept for somebody and let go was in nobody's guest.
    earlier = CardClaim.objects.filter(
        card=OuterRef("card"), is_hold=False, released_at__lte=OuterRef("claimed_at")
    ).order_by("-released_at")
    claims = list(
        CardClaim.objects.filter(
            consumer=consumer, claim_set=claim_set, released_at=None
        )
        .annotate(used_until=Subquery(earlier.values("released_at")[:1]))
        .select_related("card__gpu_model")
        .order_by("card__numa_node__number", "card__slot_path")
    )
    checks = _checks_before(claims)
    return [
        CardEvidence(claim, claim.used_until is not None, tuple(checks[claim.card_id]))
        for claim in claims
    ]


def _checks_before(claims: list[Any]) -> dict[int, list[CardCheck]]:
    """claims: with used_until."""
    found: dict[int, list[CardCheck]] = defaultdict(list)
    wanted = Q(pk=None)
    for claim in claims:
        of_card = Q(card=claim.card_id, finished_at__lte=claim.claimed_at)
        if claim.used_until is not None:
            of_card &= Q(started_at__gte=claim.used_until)
        wanted |= of_card
    for check in CardCheck.objects.filter(wanted).order_by("pk"):
        found[check.card_id].append(check)
    return found


def digest_of(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the document in one form: keys sorted, no space, UTF-8.

    That is RFC 8785's form for the texts, whole numbers, truths and nulls of ours.
    """
    canonical = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def report_digest(check: CardCheck) -> str:
    """Return the digest of all that was recorded of one check.

    What it covers is for staff; that it was never changed can be shown to anybody.
    """
    return digest_of(
        {
            "id": check.pk,
            "card": check.card_id,
            "kind": check.kind,
            "outcome": check.outcome,
            "finding": check.finding,
            "started_at": check.started_at.isoformat(),
            "finished_at": check.finished_at.isoformat(),
            "image": check.image,
            "console": check.console,
            "console_digest": check.console_digest,
            "actor": check.actor,
        }
    )
