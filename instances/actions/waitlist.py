"""Join the waitlist for a plan in a region, and leave it."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from instances.actions.sale import offer
from instances.choices import ReservationState, WaitState
from instances.exceptions import InvalidRequest
from instances.holds import let_go
from instances.models import Account, WaitlistEntry
from instances.quotas import check_quota
from inventory.ledger import Actor, clock

MOST_WAITING = 10


@transaction.atomic
def join(account: Account, plan_slug: str, region_slug: str, actor: str) -> int:
    """Return the id of a new entry, the last in line. actor: user:NAME.

    Raises InvalidRequest, every wrong field, or QuotaExceeded.
    """
    offered = offer(plan_slug, region_slug, account)
    plan, region = offered.plan, offered.region
    if plan is None or region is None:
        raise offered.refusal(offered.errors)
    # The account's row is the lock: two joins count one after the other.
    Account.objects.select_for_update(no_key=True).get(pk=account.pk)
    waiting = WaitlistEntry.objects.filter(account=account, state=WaitState.WAITING)
    mine = waiting.filter(plan=plan, region=region).first()
    if mine is not None:
        raise InvalidRequest([("type", f"You wait for it already: entry {mine.pk}")])
    if waiting.count() >= MOST_WAITING:
        raise InvalidRequest(
            [
                (
                    None,
                    f"Account Limit reached. An account waits for at most {MOST_WAITING} "
                    "at once. Delete an entry that is not needed any more.",
                )
            ]
        )
    check_quota(account, plan)
    return WaitlistEntry.objects.create(
        account=account,
        plan=plan,
        region=region,
        expires_at=clock() + timedelta(seconds=settings.WAITLIST_MAX_S),
        created_by=actor,
    ).pk


@transaction.atomic
def leave(entry_id: int, actor: str) -> None:
    """Cancel an entry that waits, or give back what it is offered.

    Raises InvalidRequest if it is over.
    """
    entry = WaitlistEntry.objects.select_for_update(no_key=True).get(pk=entry_id)
    is_over = entry.state not in (WaitState.WAITING, WaitState.TOLD)
    if entry.reservation_id is not None and not is_over:
        told = Actor(actor, f"{entry} was given up")
        is_over = not let_go(entry.reservation_id, ReservationState.RELEASED, told)
    if is_over:
        raise InvalidRequest([(None, "This entry has ended.")])
    WaitlistEntry.objects.filter(pk=entry_id).update(
        state=WaitState.CANCELLED, ended_at=Now()
    )
