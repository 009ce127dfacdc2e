"""How long a card's checks take: measured on the model's cards, else as its images say."""

from datetime import timedelta
from statistics import median

from inventory.card_checks import needs_sanitising
from inventory.choices import CardCondition, CheckKind, CheckOutcome
from inventory.models import Card, CardCheck, GpuModel

_RECENT = 20
_ENOUGH = 3
_UNCLEAN = (CardCondition.DIRTY, CardCondition.SANITISING)


def expected_check_s(model: GpuModel, kind: CheckKind) -> float | None:
    """Return the median of the model's recent checks that passed; else the image's word.

    None: its model names no image for this check.
    """
    image = model.scrub_image if kind is CheckKind.SANITISE else model.test_image
    recent = CardCheck.objects.filter(
        card__gpu_model=model, kind=kind, outcome=CheckOutcome.PASSED
    ).values_list("started_at", "finished_at")[:_RECENT]
    took = [(end - start).total_seconds() for start, end in recent]
    if len(took) >= _ENOUGH:
        return median(took)
    return float(image.expected_s) if image else None


def expected_until_ready(card: Card) -> timedelta | None:
    """Return how long the checks take that a card has before it, from their start.

    None: it is not in cleaning, or its model names no image for one of them.
    """
    if card.condition in _UNCLEAN or (
        card.condition == CardCondition.UNVERIFIED and needs_sanitising(card)
    ):
        kinds = [CheckKind.SANITISE, CheckKind.TEST]
    elif card.condition in (CardCondition.UNVERIFIED, CardCondition.TESTING):
        kinds = [CheckKind.TEST]
    else:
        return None
    seconds = [expected_check_s(card.gpu_model, kind) for kind in kinds]
    known = [each for each in seconds if each is not None]
    return timedelta(seconds=sum(known)) if len(known) == len(kinds) else None
