"""End reservations, once: used by an instance, released, or expired.

Each function runs in the caller's transaction, and the reservation's row decides races:
whoever changes its state first has it.
"""

import logging

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from instances.choices import ReservationState
from instances.claiming import claim_capacity
from instances.exceptions import InvalidRequest, NoCapacity
from instances.models import Account, Instance, Plan, Reservation
from instances.placement import NoFit
from instances.quotas import check_quota
from instances.selectors import request_of
from inventory import prepared
from inventory.exceptions import NotClaimable
from inventory.ledger import Actor, clock, lock_hosts_of, release, take_up
from inventory.models import Region
from inventory.snapshots import accepting_hosts

logger = logging.getLogger(__name__)

_EXPIRY = "system:expiry"
_AT_ONCE = 100

_END = """
UPDATE instances_reservation SET state = %(state)s::text, ended_at = clock_timestamp()
 WHERE id = %(id)s AND state = 'active'
   AND account_id = coalesce(%(account)s::bigint, account_id)
   AND (%(state)s::text <> 'expired' OR expires_at <= clock_timestamp())
RETURNING uuid
"""


def hold(reservation: Reservation) -> None:
    """Insert a new reservation and claim what it is for, within its account's quota.

    Raises QuotaExceeded or NoCapacity; then the caller's transaction is to be undone.
    """
    # Before the claim: a repeat waits here for the first and takes no card meanwhile.
    prepared.insert(reservation)
    plan, region = reservation.plan, reservation.region
    check_quota(reservation.account, plan)
    actor = Actor(
        reservation.created_by,
        f"reservation {reservation.pk} for {reservation.account.name}",
    )
    placed = claim_capacity(
        request_of(plan), region, reservation.uuid, actor, is_hold=True
    )
    if isinstance(placed, NoFit):
        raise NoCapacity.of(plan.cards, plan.slug, region.slug, placed)


def let_go(
    reservation_id: int,
    to: ReservationState,
    actor: Actor,
    account_id: int | None = None,
) -> bool:
    """Free what an active reservation holds; False if it has ended, or is not over yet.

    account_id: whose it must be, if not anybody's.
    """
    ended = prepared.rows(
        _END, {"id": reservation_id, "state": str(to), "account": account_id}
    )
    for (consumer,) in ended:
        release(consumer, actor)
    return bool(ended)


def expire_due() -> int:
    """Free what is held beyond its time; returns how many reservations expired.

    Each in a transaction of its own: a crash leaves the others for the next call, and one
    that cannot be ended keeps nobody else waiting.
    """
    due = Reservation.objects.filter(
        state=ReservationState.ACTIVE, expires_at__lte=Now()
    ).order_by("expires_at")
    expired = 0
    for pk in list(due.values_list("pk", flat=True)[:_AT_ONCE]):
        actor = Actor(_EXPIRY, f"reservation {pk} has expired")
        try:
            with transaction.atomic():
                expired += let_go(pk, ReservationState.EXPIRED, actor)
        except IntegrityError:
            logger.exception("reservation %s cannot be ended", pk)
    return expired


def locked_for_use(
    reservation_id: int, account: Account, plan: Plan, region: Region
) -> Reservation:
    """Lock a reservation and return it; it is active and holds just that plan there.

    Raises InvalidRequest, with what is wrong in the customer's words.
    """
    row = (
        Reservation.objects.select_for_update(of=("self",), no_key=True)
        .select_related("plan", "region")
        .filter(pk=reservation_id, account=account)
        .exclude(state=ReservationState.RELEASED)
        .first()
    )
    if row is None:
        raise _refused("There is no such reservation")
    if row.state == ReservationState.USED:
        raise _refused("This reservation has been used")
    if row.state == ReservationState.EXPIRED or row.expires_at <= clock():
        raise _refused("This reservation has expired")
    if (row.plan_id, row.region_id) != (plan.pk, region.pk):
        raise _refused(
            f"This reservation is for {row.plan.slug} in {row.region.slug}: ask for those"
        )
    return row


def use(reservation: Reservation, instance: Instance, actor: Actor) -> None:
    """Turn the locked reservation's hold into the claims of `instance`, its namesake.

    Nothing is transferred: both have one UUID. Raises InvalidRequest if what is held
    cannot be used now; the reservation then stays as it is.
    """
    out_of_order = _refused(
        "What this reservation holds is out of order right now. Try again later, or "
        "delete the reservation and create without it"
    )
    host_ids = lock_hosts_of(reservation.uuid)
    if len(host_ids) != accepting_hosts().filter(pk__in=host_ids).count():
        raise out_of_order
    try:
        take_up(instance.uuid, actor)
    except NotClaimable as error:
        raise out_of_order from error
    Reservation.objects.filter(pk=reservation.pk).update(
        state=ReservationState.USED, ended_at=clock()
    )


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest([("reservation", reason)])
