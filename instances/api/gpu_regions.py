"""Where a caller can have GPUs, as far as the caller may know that there are any."""

from instances.models import Account
from instances.selectors import plans_for
from inventory.choices import CardCondition
from inventory.models import Card

_GONE = (CardCondition.MISSING, CardCondition.RETIRED)


def gpu_region_ids(account: Account | None) -> frozenset[int]:
    """Return the ids of regions with a card of a plan that `account` sees.

    Two to four queries. Whether a card is free does not matter: that is availability.
    """
    models = {plan.gpu_model_id for plan in plans_for(account) if plan.cards}
    if not models:
        return frozenset()
    cards = Card.objects.filter(gpu_model__in=models).exclude(condition__in=_GONE)
    return frozenset(
        cards.order_by().values_list("host__region_id", flat=True).distinct()
    )
