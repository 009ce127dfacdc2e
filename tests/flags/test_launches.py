"""A launch rests on a fresh go; decisions are kept as they were made."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from pytest_django import Settings

from flags import changes, launches
from flags.availability import is_available
from flags.changes import Why
from flags.exceptions import ChangeRefused
from flags.models import Flag, FlagProposal, LaunchDecision, ReadinessThreshold, Verdict
from tests.builders import make_flag

pytestmark = pytest.mark.django_db
NAME = "gpu-instances"
WHY = Why("user:ann", "it is ready")


def snapshot(**states: str) -> dict[str, Any]:
    """Return a report with lines by name and state."""
    lines = [
        {"name": name, "title": name.title(), "status": state.replace("_", " ")}
        for name, state in states.items()
    ]
    return {"since": "2026-11-01", "lines": lines}


GREEN = snapshot(launches="green", success="green")
RED = snapshot(launches="green", success="red")
UNKNOWN = snapshot(launches="green", success="no_data")


def go(flag: Flag, report: dict[str, Any] = GREEN, remark: str = "") -> LaunchDecision:
    return launches.decide(flag.pk, Verdict.GO, remark, "user:ann", report)


@pytest.mark.parametrize("report", [RED, UNKNOWN])
def test_a_go_with_a_line_that_is_not_green_needs_a_remark(
    report: dict[str, Any],
) -> None:
    flag = make_flag()
    row = {"flag": flag, "by": "user:ann", "at": timezone.now(), "snapshot": report}

    with pytest.raises(ChangeRefused, match=r"Not green: Success\. Say in the remark"):
        go(flag, report)
    with pytest.raises(IntegrityError, match="not_green"), transaction.atomic():
        LaunchDecision.objects.create(verdict="go", **row)
    with pytest.raises(IntegrityError, match="is_on_a_report"), transaction.atomic():
        LaunchDecision.objects.create(verdict="no_go", **{**row, "snapshot": {}})
    assert not LaunchDecision.objects.exists()
    launches.decide(flag.pk, Verdict.NO_GO, "", "user:ann", report)
    assert go(flag, report, "two were a cable").not_green == {"success"}
    assert go(flag).not_green == set()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE flags_launchdecision SET remark = 'x'",
        "DELETE FROM flags_launchdecision",
    ],
)
def test_a_decision_is_never_changed(sql: str) -> None:
    go(make_flag())

    with (
        pytest.raises(IntegrityError, match="history"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql)


def test_a_launch_needs_a_go_that_is_fresh_and_knew_what_is_red() -> None:
    flag = make_flag(tags=("employee",))

    def refusal(*not_green: str) -> str:
        with pytest.raises(ChangeRefused) as refused:
            launches.launch(flag.pk, WHY, not_green)
        assert not is_available([NAME], None)
        return str(refused.value)

    assert refusal().startswith("Nobody has decided yet.")
    go(flag)
    launches.decide(flag.pk, Verdict.NO_GO, "too few", "user:bob", GREEN)
    assert refusal() == "The latest decision is a no-go, by user:bob."
    old = timezone.now() - launches.FRESH - timedelta(minutes=1)
    LaunchDecision.objects.create(
        flag=flag, verdict="go", by="user:ann", at=old, snapshot=GREEN
    )
    assert refusal().startswith("The decision is older than 7 days.")
    go(flag)
    changes.kill(flag.pk, WHY)
    changes.take_back(flag.pk, WHY)
    assert (
        refusal()
        == "It was shut since the decision, by user:ann: it is ready. Decide again."
    )
    go(flag)
    assert refusal("success").startswith(
        "Not green any more since the decision: success."
    )

    go(flag, RED, "two were a cable")
    launches.launch(flag.pk, WHY, ["success"])

    assert is_available([NAME], None)
    with pytest.raises(ChangeRefused, match="is launched already"):
        launches.launch(flag.pk, WHY, [])


@pytest.mark.parametrize("before", [None, False])
def test_a_launch_is_taken_back_to_what_was_before(before: bool | None) -> None:
    flag = make_flag(everyone=before, tags=("employee",))
    state = changes.state_of(flag)
    with pytest.raises(ChangeRefused, match="is not launched"):
        launches.take_launch_back(flag.pk, WHY)
    go(flag)
    launches.launch(flag.pk, WHY, [])

    launches.take_launch_back(flag.pk, WHY)

    flag.refresh_from_db()
    assert changes.state_of(flag) == state
    # What was learned since is not in that decision.
    with pytest.raises(ChangeRefused, match="shut since the decision"):
        launches.launch(flag.pk, WHY, [])


def test_a_launch_waits_for_its_time_and_a_second_person(settings: Settings) -> None:
    flag = make_flag()
    go(flag)
    later = timezone.now() + timedelta(hours=1)
    planned = launches.launch(flag.pk, WHY, [], later)
    settings.FLAG_CHANGES_NEED_TWO = True
    waiting = launches.launch(flag.pk, WHY, [])

    assert isinstance(planned, FlagProposal)
    assert isinstance(waiting, FlagProposal)
    assert (planned.state, waiting.state) == ("scheduled", "waiting")
    assert not is_available([NAME], None)
    changes.approve(waiting.pk, "user:bob")
    assert is_available([NAME], None)


def test_a_no_go_cancels_what_was_planned_after_a_go() -> None:
    flag = make_flag()
    go(flag)
    planned = launches.launch(flag.pk, WHY, [], timezone.now() + timedelta(hours=1))
    note = changes.change(
        flag.pk, {"note": "soon"}, WHY, timezone.now() + timedelta(hours=1)
    )

    launches.decide(flag.pk, Verdict.NO_GO, "a card broke", "user:bob", GREEN)

    planned.refresh_from_db()
    note.refresh_from_db()
    assert isinstance(planned, FlagProposal)
    assert isinstance(note, FlagProposal)
    assert (planned.state, planned.ended_by) == ("cancelled", "user:bob")
    assert note.state == "scheduled"


def test_a_threshold_is_one_for_a_flag_and_line() -> None:
    flag = make_flag()
    for of in (None, flag):
        ReadinessThreshold.objects.update_or_create(
            flag=of, line="hours", defaults={"bound": 5}
        )
        with pytest.raises(IntegrityError, match="once"), transaction.atomic():
            ReadinessThreshold.objects.create(flag=of, line="hours", bound=6)
    with pytest.raises(IntegrityError, match="not_negative"), transaction.atomic():
        ReadinessThreshold.objects.create(flag=flag, line="launches", bound=-1)
