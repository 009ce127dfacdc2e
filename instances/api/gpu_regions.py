"""Where a caller can have GPUs, as far as the caller may know that there are any."""

from instances.models import Account
from instances.selectors import plans_for, regions_for
from inventory.choices import CardCondition
from inventory.models import Card

_GONE = (CardCondition.MISSING, CardCondition.RETIRED)


def gpu_region_ids(account: Account | None) -> frozenset[int]:
    """Return the ids of regions that `account` sees, with a card of a plan that it sees.

    One query, whatever it sees. Whether a card is free does not matter: that is
    availability.
    """
    models = plans_for(account).filter(cards__gt=0).order_by().values("gpu_model")
    cards = Card.objects.filter(
        gpu_model__in=models, host__region__in=regions_for(account)
    ).exclude(condition__in=_GONE)
    return frozenset(
        cards.order_by().values_list("host__region_id", flat=True).distinct()
    )
