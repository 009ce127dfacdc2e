"""Tell those who asked for it that a product is for everyone now, each account once.

Who asked is fixed by the database in the launch's own transaction, however it was made
(migration launch_notices); each is told, and noted as told, in one transaction.
"""

from datetime import timedelta

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from flags.availability import open_flags
from flags.models import Flag
from instances.choices import EntityType, EventAction, EventStatus
from instances.gates import hold_gates
from instances.launch_offer import Offer, offers_behind
from instances.models import Account, Event, LaunchNotice

# Claims share the gates' lock with us, and a kill waits for it.
_AT_ONCE = 100
# How soon an account from which another flag keeps all of it is looked at again.
_POSTPONED = timedelta(minutes=10)
_ASKERS = """
SELECT count(*) FROM instances_launch_askers(%(flag)s) AS asker
 WHERE NOT EXISTS (SELECT FROM instances_launchnotice n
                    WHERE n.flag_id = %(flag)s AND n.account_id = asker
                      AND n.told_at IS NOT NULL)
"""


def tell_launched() -> int:
    """Tell who waits for it; returns how many. Any number of processes may.

    One query while nobody waits. A flag that is killed or taken back tells nobody.
    """
    flags = list(_due().order_by().values_list("flag", flat=True).distinct())
    return sum(_tell_some(Flag.objects.get(pk=pk)) for pk in flags)


def count_askers(flag: Flag) -> int:
    """Return how many accounts a launch now would tell."""
    with connection.cursor() as cursor:
        cursor.execute(_ASKERS, {"flag": flag.pk})
        return int(cursor.fetchone()[0])


def _due() -> QuerySet[LaunchNotice]:
    return LaunchNotice.objects.filter(
        told_at=None,
        not_before__lte=Now(),
        flag__everyone=True,
        flag__is_killed=False,
    )


@transaction.atomic
def _tell_some(flag: Flag) -> int:
    # So that nobody is told after a kill.
    hold_gates()
    notices = _due().filter(flag=flag).select_related("account", "flag")
    taken = notices.select_for_update(of=("self",), no_key=True, skip_locked=True)
    offers = offers_behind(flag.name)
    return sum(_tell(notice, offers) for notice in taken.order_by("pk")[:_AT_ONCE])


def _tell(notice: LaunchNotice, offers: list[Offer]) -> bool:
    mine = LaunchNotice.objects.filter(pk=notice.pk)
    had = _open_for(notice.account, offers)
    if not had:
        mine.update(not_before=Now() + _POSTPONED)
        return False
    # A region's flag opens a region, any other what is sold in it.
    entity, opened = EntityType.PLAN, {offer.plan.slug: offer.plan.pk for offer in had}
    if had[0].region.flag_name == notice.flag.name:
        entity = EntityType.REGION
        opened = {offer.region.slug: offer.region.pk for offer in had}
    first = next(iter(opened))
    Event.objects.create(
        account=notice.account,
        action=EventAction.PRODUCT_LAUNCHED,
        status=EventStatus.NOTIFICATION,
        entity_type=entity,
        entity_id=opened[first],
        entity_label=first,
        message=f"For everyone now: {', '.join(opened)}."[:500],
        percent_complete=100,
    )
    mine.update(told_at=Now())
    return True


def _open_for(account: Account, offers: list[Offer]) -> list[Offer]:
    others = {name for offer in offers for name in offer.other_gates}
    is_open = open_flags(others, account)
    return [offer for offer in offers if is_open.issuperset(offer.other_gates)]
