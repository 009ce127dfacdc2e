"""Hold what becomes free for whoever has waited longest for it, and tell them.

What fits is held by a reservation before anybody is told, so that the promise is true. One
that is not used by its end is free for the next in line (holds.expire_due).
"""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import (
    Case,
    CharField,
    Count,
    F,
    OuterRef,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Now

from instances.choices import (
    EntityType,
    EventAction,
    EventStatus,
    ReservationState,
    WaitState,
)
from instances.claiming import fits_one_of, room_of
from instances.exceptions import NoCapacity, QuotaExceeded
from instances.gates import hold_gates, is_on_sale
from instances.holds import hold
from instances.models import Account, Event, Plan, Reservation, WaitlistEntry
from instances.moments import time_of
from instances.selectors import request_of
from inventory.exceptions import NotClaimable
from inventory.ledger import clock
from inventory.models import Region

_ACTOR = "system:waitlist"
# How soon an account that may not have the plan now, by quota or flag, is looked at again.
_POSTPONED = timedelta(minutes=1)
# Of one region in one look; the rest comes at the next.
_AT_ONCE = 100


def tell_waiting() -> int:
    """Tell those for whom there is room now; returns how many were told.

    One query while nobody waits, and two a region while nothing fits. Any number of
    processes may look at once: a region is served by one of them, in its order.
    """
    waiting = WaitlistEntry.objects.filter(state=WaitState.WAITING)
    waiting.filter(expires_at__lte=Now()).update(
        state=WaitState.EXPIRED, ended_at=Now()
    )
    regions = waiting.order_by().values_list("region", flat=True).distinct()
    return sum(sum(_told_in(region_id)) for region_id in list(regions))


def shown_entries_of(account: Account) -> QuerySet[WaitlistEntry]:
    """Return the account's entries that were not cancelled, oldest first, with relations.

    Each has `status` besides: waiting, expired, or of one that was told what became of
    its reservation, offered, used or lapsed; and `position`, from 1, of those that wait
    for the same.
    """
    before = (
        WaitlistEntry.objects.filter(
            state=WaitState.WAITING,
            plan=OuterRef("plan"),
            region=OuterRef("region"),
            pk__lt=OuterRef("pk"),
        )
        .order_by()
        .values("plan")
        .annotate(number=Count("pk"))
        .values("number")
    )
    told = Case(
        When(reservation__state=ReservationState.ACTIVE, then=Value("offered")),
        When(reservation__state=ReservationState.USED, then=Value("used")),
        default=Value("lapsed"),
    )
    status = Case(
        When(state=WaitState.TOLD, then=told),
        default=F("state"),
        output_field=CharField(),
    )
    return (
        WaitlistEntry.objects.filter(account=account)
        .exclude(state=WaitState.CANCELLED)
        .select_related("plan", "region", "reservation")
        .annotate(status=status, position=Coalesce(Subquery(before), 0) + 1)
        .order_by("pk")
    )


def _told_in(region_id: int) -> Iterator[bool]:
    """Try one entry after the other; gives whether each was told."""
    due = WaitlistEntry.objects.filter(
        region=region_id, state=WaitState.WAITING, not_before__lte=Now()
    )
    plans = Plan.objects.filter(pk__in=due.values("plan")).select_related("gpu_model")
    room = room_of(region_id)
    fitting = {plan.pk for plan in plans if fits_one_of(request_of(plan), room)}
    for _ in range(_AT_ONCE):
        told = _tell_next(due, region_id, fitting) if fitting else None
        if told is None:
            return
        yield told


@transaction.atomic
def _tell_next(
    due: QuerySet[WaitlistEntry], region_id: int, fitting: set[int]
) -> bool | None:
    """Serve the first in line for a plan of `fitting`; None if there is nobody.

    A plan that no longer fits is taken out of `fitting`.
    """
    hold_gates()
    # Whoever has the region serves it: two at once could pass the first in line by.
    regions = Region.objects.select_for_update(no_key=True, skip_locked=True)
    if regions.filter(pk=region_id).first() is None:
        return None
    entry = (
        due.filter(plan__in=fitting)
        .select_for_update(of=("self",), no_key=True)
        .select_related("account", "plan__gpu_model", "region")
        .order_by("pk")
        .first()
    )
    if entry is None:
        return None
    try:
        reservation = (
            _held_for(entry)
            if is_on_sale(entry.plan, entry.region, entry.account)
            else None
        )
    except (NoCapacity, NotClaimable):
        # Others were quicker; the next look is soon.
        fitting.discard(entry.plan_id)
        return False
    except QuotaExceeded:
        reservation = None
    if reservation is None:
        _update(entry, not_before=Now() + _POSTPONED)
        return False
    _update(entry, state=WaitState.TOLD, reservation=reservation, ended_at=Now())
    _tell(entry, reservation)
    return True


def _update(entry: WaitlistEntry, **changes: object) -> None:
    WaitlistEntry.objects.filter(pk=entry.pk).update(**changes)


@transaction.atomic
def _held_for(entry: WaitlistEntry) -> Reservation:
    reservation = Reservation(
        account=entry.account,
        plan=entry.plan,
        region=entry.region,
        expires_at=clock() + timedelta(seconds=settings.WAITLIST_HOLD_S),
        created_by=_ACTOR,
    )
    hold(reservation)
    return reservation


def _tell(entry: WaitlistEntry, reservation: Reservation) -> None:
    Event.objects.create(
        account=entry.account,
        action=EventAction.GPU_AVAILABLE,
        status=EventStatus.NOTIFICATION,
        entity_type=EntityType.WAITLIST,
        entity_id=entry.pk,
        entity_label=entry.plan.slug[:64],
        message=f"{entry.plan.slug} is held for you in {entry.region.slug} until "
        f"{time_of(reservation.expires_at)}: create it with reservation "
        f"{reservation.pk}.",
        percent_complete=100,
    )
