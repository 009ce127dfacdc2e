"""Take a card through its checks: conditions, evidence and what a failure leads to.

Each public function is one transaction under the host's lock.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from inventory import alerts, card_reports
from inventory.choices import (
    OK_OUTCOMES,
    AlertClass,
    CardCondition,
    CardEventKind,
    CheckKind,
    CheckOutcome,
    DiscrepancyKind,
)
from inventory.exceptions import TransitionForbidden
from inventory.ledger import Actor, change_condition, clock, lock_host, refresh_shape
from inventory.models import Card, CardCheck, CardClaim, CardEvent, Host

CONSOLE_KEPT_CHARS = 16_000
FAILURES_ALLOWED = 1
_WORKED_ON = {
    CheckKind.SANITISE: CardCondition.SANITISING,
    CheckKind.TEST: CardCondition.TESTING,
}
_WAITING = (CardCondition.UNVERIFIED, CardCondition.DIRTY)
_UNCLEAN = (CardCondition.DIRTY, CardCondition.SANITISING)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one guest did. finding: one line for people. image: what ran."""

    kind: CheckKind
    outcome: CheckOutcome
    finding: str
    started_at: datetime
    image: str = ""
    console: str = ""


def locked_card(card_id: int) -> tuple[Host, Card]:
    """Lock the card's host and return both; the card as the lock's last holder left it."""
    while True:
        host_id = Card.objects.values_list("host_id", flat=True).get(pk=card_id)
        host = lock_host(host_id)
        card = Card.objects.select_related("host", "gpu_model").get(pk=card_id)
        if card.host_id == host_id:
            return host, card


def begin_check(card_id: int, kind: CheckKind, actor: Actor) -> datetime:
    """Put the card into the condition of that check; return the database's time.

    Being there already is fine. Raises TransitionForbidden if the card cannot go there.
    """
    to = _WORKED_ON[kind]
    with transaction.atomic():
        host, card = locked_card(card_id)
        if card.condition == CardCondition.QUARANTINED:
            raise TransitionForbidden(f"{card} was quarantined meanwhile")
        if card.condition != to:
            change_condition(card, to, actor, check=_last_passed(card, kind))
            refresh_shape(host)
        return clock()


def _last_passed(card: Card, beginning: CheckKind) -> CardCheck | None:
    """Return the scrub that lets a card go on to its test."""
    if beginning is not CheckKind.TEST or card.condition != CardCondition.SANITISING:
        return None
    return card.checks.filter(kind=CheckKind.SANITISE, outcome__in=OK_OUTCOMES).first()


def record_check(card_id: int, result: CheckResult, actor: str) -> CardCheck:
    """Keep the evidence of one check; the card's condition stays."""
    return CardCheck.objects.create(
        card_id=card_id,
        kind=result.kind,
        outcome=result.outcome,
        finding=result.finding[:500],
        started_at=result.started_at,
        finished_at=clock(),
        image=result.image[:400],
        # PostgreSQL keeps no NUL in a text.
        console=result.console.replace("\0", "�")[-CONSOLE_KEPT_CHARS:],
        console_digest=(
            hashlib.sha256(result.console.encode()).hexdigest()
            if result.console
            else ""
        ),
        actor=actor,
    )


def admit(card_id: int, actor: Actor) -> None:
    """Put a tested card on sale; one that is ready already stays so.

    A card that somebody had after its test was queued has to be scrubbed first.
    """
    with transaction.atomic():
        host, card = locked_card(card_id)
        if card.condition == CardCondition.READY:
            return
        if needs_sanitising(card):
            change_condition(card, CardCondition.DIRTY, actor)
            return
        proof = card.checks.filter(kind=CheckKind.TEST).first()
        change_condition(card, CardCondition.READY, actor, check=proof)
        # Whoever reported it had it before this test.
        alerts.clear_alerts(
            alerts.Subject(card=card),
            card_reports.SOURCE,
            card_reports.CODE,
            actor.name,
        )
        refresh_shape(host)


def note_missing(card_id: int, actor: Actor) -> None:
    """Take a card out of its check that its host no longer lists; once is enough."""
    with transaction.atomic():
        host, card = locked_card(card_id)
        if card.condition in _WORKED_ON.values():
            change_condition(card, CardCondition.MISSING, actor)
            refresh_shape(host)


def give_up(card_id: int, kind: CheckKind, actor: Actor) -> None:
    """Take a card out of a check that failed; after the second in a row, quarantine it.

    In the caller's transaction. A failure that left no evidence is kept too, or it would
    be tried for ever. A card that went another way meanwhile is left alone.
    """
    host, card = locked_card(card_id)
    if card.condition not in (*_WORKED_ON.values(), *_WAITING):
        return
    last = card.checks.first()
    if last is None or (last.actor, last.outcome) != (actor.name, CheckOutcome.FAILED):
        failed = CheckResult(kind, CheckOutcome.FAILED, actor.reason, clock())
        last = record_check(card_id, failed, actor.name)
    if failures_in_a_row(card) > FAILURES_ALLOWED and may_quarantine(card):
        change_condition(card, CardCondition.QUARANTINED, actor, check=last)
    elif card.condition in _WORKED_ON.values():
        is_dirty = card.condition == CardCondition.SANITISING or needs_sanitising(card)
        to = CardCondition.DIRTY if is_dirty else CardCondition.UNVERIFIED
        change_condition(card, to, actor, check=last)
    refresh_shape(host)


def failures_in_a_row(card: Card) -> int:
    """Return how many checks failed since the last that passed."""
    passed = card.checks.filter(kind=CheckKind.TEST, outcome__in=OK_OUTCOMES).first()
    failed = card.checks.filter(outcome=CheckOutcome.FAILED)
    return failed.filter(pk__gt=passed.pk).count() if passed else failed.count()


def needs_sanitising(card: Card) -> bool:
    """Say whether somebody used the card since it was last proven clean.

    A guest counts too that was seen with the card and never held it.
    """
    last_claim = CardClaim.objects.filter(card=card, is_hold=False).first()
    if last_claim is not None and last_claim.released_at is None:
        return True
    stranger = (
        card.discrepancies.filter(kind=DiscrepancyKind.UNCLAIMED_HOSTDEV)
        .order_by("-last_seen_at")
        .first()
    )
    ends = (
        last_claim.released_at if last_claim else None,
        stranger.last_seen_at if stranger else None,
    )
    used_until = max((end for end in ends if end is not None), default=None)
    if used_until is None:
        return False
    # What a lab let through unwiped counts as wiped in that lab alone.
    clean = OK_OUTCOMES if settings.LAB_SKIPS_SANITISING else (CheckOutcome.PASSED,)
    return not card.checks.filter(
        kind=CheckKind.SANITISE,
        outcome__in=clean,
        started_at__gte=used_until,
    ).exists()


def condition_after_return(card: Card) -> CardCondition:
    """Return what a card is that was away: no better than it went."""
    left = CardEvent.objects.filter(
        card=card, kind=CardEventKind.CONDITION, to_condition=CardCondition.MISSING
    ).first()
    if left is not None and left.from_condition == CardCondition.QUARANTINED:
        return CardCondition.QUARANTINED
    was_dirty = left is not None and left.from_condition in _UNCLEAN
    if was_dirty or needs_sanitising(card):
        return CardCondition.DIRTY
    return CardCondition.UNVERIFIED


def may_quarantine(card: Card) -> bool:
    """Say whether one more card may be quarantined without asking a person.

    A cause that many cards share (a bad scrub image, a firmware update) must not empty a
    region: beyond the set share the card stays unsold, and an alert asks.
    """
    region = card.host.region_id
    since = clock() - timedelta(seconds=settings.QUARANTINE_WINDOW_S)
    recent = (
        CardEvent.objects.filter(
            card__host__region=region,
            at__gt=since,
            kind=CardEventKind.CONDITION,
            to_condition=CardCondition.QUARANTINED,
        )
        .exclude(actor__startswith="user:")
        .count()
    )
    fleet = Card.objects.filter(host__region=region).exclude(
        condition=CardCondition.RETIRED
    )
    allowed = max(1, fleet.count() * settings.QUARANTINE_SHARE_PERCENT // 100)
    if recent < allowed:
        return True
    alerts.raise_alert(
        alerts.Subject(card=card),
        AlertClass.PREVENTS_CLAIMS,
        "card-checks",
        "mass-quarantine",
        f"{card} failed its checks twice, as {recent} others of the region lately. "
        "Find out whether they share a cause, then quarantine it or have it checked.",
    )
    return False
