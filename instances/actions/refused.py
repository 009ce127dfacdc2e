"""Write down the demand that is turned away, once its transaction is undone."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, transaction

from instances.exceptions import Killed, NoCapacity, QuotaExceeded
from instances.models import Account, Plan, RefusedDemand
from inventory.models import Region

logger = logging.getLogger(__name__)


@contextmanager
def refusals_noted(account: Account, plan: str, region: str) -> Iterator[None]:
    """Note a refusal for want of capacity or quota, or by a kill, and let it through.

    plan, region: slugs. What is inside must have undone all that it did by then.
    """
    try:
        yield
    except NoCapacity:
        _note(account, plan, region, RefusedDemand.Reason.CAPACITY)
        raise
    except QuotaExceeded:
        _note(account, plan, region, RefusedDemand.Reason.QUOTA)
        raise
    except Killed as error:
        _note(account, plan, region, RefusedDemand.Reason.KILLED, error.flag_name)
        raise


def _note(
    account: Account,
    plan: str,
    region: str,
    reason: RefusedDemand.Reason,
    flag_name: str = "",
) -> None:
    try:
        with transaction.atomic():
            RefusedDemand.objects.create(
                account=account,
                plan=Plan.objects.get(slug=plan),
                region=Region.objects.get(slug=region),
                reason=reason,
                flag_name=flag_name,
                is_employee=account.is_employee,
            )
    except DatabaseError:
        # Whoever asked is to hear why it was refused, not that the note failed.
        logger.exception("a refusal of %s in %s was not noted", plan, region)
