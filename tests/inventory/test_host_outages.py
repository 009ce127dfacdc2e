"""Past outages of a host are known: when it was silent, why, and which cards were there."""

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from inventory import ledger
from inventory.choices import CardCondition, HostConnection, HostPolicy
from inventory.fleet_history import fleet_at
from inventory.free_host import free_host
from inventory.host_policy import set_policy
from inventory.host_state import note_unreachable
from inventory.ledger import Actor, change_condition
from inventory.models import Host, HostOutage
from inventory.topology import NodeShare
from tests.builders import make_host

pytestmark = pytest.mark.django_db
WHO = Actor("user:tester", "a test")


def answer(host: Host) -> None:
    """Have it as a look that succeeds leaves it."""
    Host.objects.filter(pk=host.pk).update(
        connection=HostConnection.OK, last_seen_at=timezone.now()
    )


def put(policy: HostPolicy) -> Callable[[Host], object]:
    return lambda host: set_policy(host.pk, policy, WHO)


def be_silent(why: str) -> Callable[[Host], object]:
    return lambda host: note_unreachable(host.pk, why)


@pytest.mark.parametrize(
    ("happens", "outages"),
    [
        pytest.param([answer], [], id="it answers on"),
        pytest.param([be_silent("no route")], [("no route", False)], id="it is silent"),
        pytest.param(
            [be_silent(""), be_silent("no route"), be_silent("refused")],
            [("no route", False)],
            id="one outage, and the first cause that is known",
        ),
        pytest.param(
            [be_silent("no\n route"), answer, answer, be_silent("refused")],
            [("no route", True), ("refused", False)],
            id="again",
        ),
        pytest.param(
            [put(HostPolicy.DRAINING), be_silent("off"), put(HostPolicy.MAINTENANCE)],
            [("off", False)],
            id="what people decide ends none",
        ),
        pytest.param(
            [put(HostPolicy.MAINTENANCE), put(HostPolicy.IN_SERVICE), answer],
            [("not compared yet since its maintenance", True)],
            id="after maintenance nothing is known until it was compared",
        ),
        pytest.param(
            [be_silent("off"), put(HostPolicy.DRAINING), put(HostPolicy.RETIRED)],
            [("off", True)],
            id="retired it is nobody's outage",
        ),
    ],
)
def test_a_silence_is_one_row_from_its_first_sign_to_the_answer(
    happens: list[Callable[[Host], object]], outages: list[tuple[str, bool]]
) -> None:
    host = make_host()
    seen = host.last_seen_at
    before = ledger.clock()

    for each in happens:
        each(host)

    rows = HostOutage.objects.order_by("pk")
    assert [(row.cause, row.ended_at is not None) for row in rows] == outages
    assert [row.last_seen_at for row in rows[:1]] == [seen][: len(outages)]
    now = ledger.clock()
    assert all(before <= row.began_at <= (row.ended_at or now) <= now for row in rows)


def test_an_older_question_without_an_answer_begins_no_outage() -> None:
    host = make_host()
    asked = ledger.clock()
    Host.objects.filter(pk=host.pk).update(reconciled_at=ledger.clock())

    note_unreachable(host.pk, "no route", asked)

    assert not HostOutage.objects.exists()


def test_what_is_taken_back_leaves_none() -> None:
    host = make_host()

    with transaction.atomic():
        note_unreachable(host.pk, "no route")
        transaction.set_rollback(True)

    assert not HostOutage.objects.exists()


def test_a_host_has_one_open_outage_which_ends_after_it_began() -> None:
    host = make_host(connection=HostConnection.UNKNOWN)
    now = timezone.now()

    with pytest.raises(IntegrityError, match="outage_open_once"), transaction.atomic():
        HostOutage.objects.create(host=host, began_at=now)
    with pytest.raises(IntegrityError, match="ends_after"), transaction.atomic():
        HostOutage.objects.create(
            host=host, began_at=now, ended_at=now - timedelta(seconds=1)
        )

    assert HostOutage.objects.get().ended_at is None


def test_cards_of_any_moment_are_on_a_silent_host_or_not() -> None:
    host, other = make_host(), make_host()
    held, broken, *_ = host.cards.order_by("pk")
    share = NodeShare(0, (held.pk,), (0,), 1, 256)
    with transaction.atomic():
        ledger.claim(
            free_host(ledger.lock_host(host.pk).pk), [share], uuid.uuid4(), WHO
        )
    change_condition(broken, CardCondition.QUARANTINED, WHO)
    before = ledger.clock()
    note_unreachable(host.pk, "no route")
    during = ledger.clock()
    answer(host)
    after = ledger.clock()

    def silent_at(moment: object) -> set[int]:
        return {c.card_id for c in fleet_at(moment) if c.is_on_silent_host}  # type: ignore[arg-type]

    assert silent_at(during) == set(host.cards.values_list("pk", flat=True))
    assert (silent_at(before), silent_at(after)) == (set(), set())
    assert len(fleet_at(during)) == host.cards.count() + other.cards.count()
