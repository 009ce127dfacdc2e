"""Reserve capacity for an account until a time, and let it go again."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from instances.actions.refused import refusals_noted
from instances.actions.sale import offer
from instances.choices import ReservationState
from instances.exceptions import ReservationEnded
from instances.gates import hold_gates
from instances.holds import hold, let_go
from instances.idempotency import made_before
from instances.models import Account, Reservation
from inventory.ledger import Actor


@dataclass(frozen=True, slots=True)
class ReservationOrder:
    """What was asked for, unchecked. plan, region: slugs. actor: user:NAME.

    idempotency_key: a repeat with the same key and content returns the first reservation.
    """

    account: Account
    plan: str
    region: str
    expires_at: datetime
    actor: str
    idempotency_key: str = ""

    @property
    def digest(self) -> str:
        body = [self.plan, self.region, self.expires_at.isoformat()]
        return hashlib.sha256(json.dumps(body).encode()).hexdigest()


def reserve(order: ReservationOrder) -> Reservation:
    """Hold what `order` asks for, once per idempotency key.

    Raises InvalidRequest (every wrong field), QuotaExceeded, NoCapacity or
    IdempotencyConflict; then nothing is held.
    """
    repeated = _repeated(order)
    if repeated is not None:
        return repeated
    try:
        with (
            refusals_noted(order.account, order.plan, order.region),
            transaction.atomic(),
        ):
            return _reserve(order)
    except IntegrityError:
        # Another request with this key committed first.
        repeated = _repeated(order)
        if repeated is None:
            raise
        return repeated


def _repeated(order: ReservationOrder) -> Reservation | None:
    return made_before(order, Reservation.objects.select_related("plan", "region"))


def _reserve(order: ReservationOrder) -> Reservation:
    hold_gates()
    offered = offer(order.plan, order.region, order.account)
    plan, region = offered.plan, offered.region
    errors = offered.errors + _time_errors(order.expires_at)
    if errors or plan is None or region is None:
        raise offered.refusal(errors)
    reservation = Reservation(
        account=order.account,
        plan=plan,
        region=region,
        expires_at=order.expires_at,
        created_by=order.actor,
        idempotency_key=order.idempotency_key,
        request_digest=order.digest,
    )
    hold(reservation)
    return reservation


def _time_errors(expires_at: datetime) -> list[tuple[str | None, str]]:
    now = timezone.now()
    longest_s = settings.RESERVATION_MAX_S
    if expires_at <= now:
        return [("expires", "expires must be in the future")]
    if expires_at > now + timedelta(seconds=longest_s):
        return [
            ("expires", f"expires must be within {longest_s / 3600:g} hours from now")
        ]
    return []


def release_reservation(
    reservation_id: int, actor: str, account: Account | None = None
) -> None:
    """Let go of what is held, which is free at once.

    account: whose it must be, if not anybody's. Raises ReservationEnded if there is no
    such reservation that is active.
    """
    told = Actor(actor, f"reservation {reservation_id} was released")
    account_id = account.pk if account else None
    with transaction.atomic():
        if not let_go(reservation_id, ReservationState.RELEASED, told, account_id):
            raise ReservationEnded("This reservation has ended.")
