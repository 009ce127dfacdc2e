"""How long a card's checks are said to take."""

from datetime import timedelta

import pytest

from inventory.check_times import expected_until_ready
from inventory.choices import CardCondition, CheckKind, CheckOutcome
from inventory.ledger import clock
from inventory.models import Card, CardCheck, CheckImage, GpuModel
from tests.builders import make_gpu_model, make_host

pytestmark = pytest.mark.django_db


@pytest.fixture
def timed() -> Card:
    """Give a card of a model whose other cards were measured; its image says 60 s."""
    host = make_host(cards_per_node=(1,), condition=CardCondition.UNVERIFIED)
    return host.cards.get()


def measured(
    card: Card,
    kind: CheckKind,
    *seconds: int,
    outcome: CheckOutcome = CheckOutcome.PASSED,
) -> None:
    now = clock()
    for took in seconds:
        CardCheck.objects.create(
            card=card,
            kind=kind,
            outcome=outcome,
            finding="measured",
            started_at=now - timedelta(seconds=took),
            finished_at=now,
            actor="job:1",
        )


def in_condition(card: Card, condition: CardCondition) -> Card:
    card.condition = condition
    return card


def test_image_is_believed_until_enough_was_measured(timed: Card) -> None:
    measured(timed, CheckKind.TEST, 10, 20)
    measured(timed, CheckKind.TEST, 1, 1, 1, outcome=CheckOutcome.FAILED)
    measured(timed, CheckKind.SANITISE, 1, 1, 1)

    assert expected_until_ready(timed) == timedelta(seconds=60)


def test_median_of_the_models_recent_checks_counts(timed: Card) -> None:
    other = make_host(cards_per_node=(1,), condition=CardCondition.UNVERIFIED)
    stranger = make_host(
        cards_per_node=(1,),
        condition=CardCondition.UNVERIFIED,
        gpu_model=make_gpu_model("l40s", "10de:26b9"),
    )
    measured(other.cards.get(), CheckKind.TEST, *[1000] * 5, *[10] * 18, 999, 30)
    measured(stranger.cards.get(), CheckKind.TEST, 500, 500, 500)

    assert expected_until_ready(timed) == timedelta(seconds=10)


@pytest.mark.parametrize(
    ("condition", "seconds"),
    [
        (CardCondition.UNVERIFIED, 20),
        (CardCondition.TESTING, 20),
        (CardCondition.DIRTY, 320),
        (CardCondition.SANITISING, 320),
        (CardCondition.READY, None),
        (CardCondition.QUARANTINED, None),
        (CardCondition.MISSING, None),
        (CardCondition.RETIRED, None),
    ],
)
def test_a_card_takes_the_checks_that_are_before_it(
    timed: Card, condition: CardCondition, seconds: int | None
) -> None:
    measured(timed, CheckKind.TEST, 20, 20, 20)
    measured(timed, CheckKind.SANITISE, 300, 300, 300)

    expected = expected_until_ready(in_condition(timed, condition))

    assert expected == (timedelta(seconds=seconds) if seconds else None)


def test_model_without_an_image_promises_nothing(timed: Card) -> None:
    GpuModel.objects.update(test_image=None)
    timed.gpu_model.refresh_from_db()

    assert expected_until_ready(timed) is None
    assert CheckImage.objects.count() == 1
