"""Decide on a flag's report, open the flag for everyone after a go, and take that back.

What was decided is never changed. A launch is a change like others: it may be planned, and
by setting waits for a second person.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from flags import changes
from flags.changes import Why
from flags.exceptions import ChangeRefused
from flags.gate_lock import clock, gates_alone
from flags.models import (
    ChangeKind,
    Flag,
    FlagChange,
    FlagProposal,
    LaunchDecision,
    LineStatus,
    Verdict,
)
from flags.models.change import OPEN_STATES, OPENED

# A decision is about the numbers of its day.
FRESH = timedelta(days=7)
_SHUT = Q(kind=ChangeKind.KILLED) | Q(before__everyone=True) & ~Q(after__everyone=True)


def decide(
    flag_id: int, verdict: Verdict, remark: str, by: str, snapshot: Mapping[str, Any]
) -> LaunchDecision:
    """Record a decision on a report; by: user:NAME. Raises ChangeRefused.

    A no-go cancels what was planned after a go. snapshot: Readiness.as_json() of
    instances.reports.readiness.
    """
    red = [line for line in snapshot["lines"] if line["status"] != LineStatus.GREEN]
    if verdict is Verdict.GO and red and not remark:
        titles = ", ".join(line["title"] for line in red)
        raise ChangeRefused(
            f"Not green: {titles}. Say in the remark why it is a go all the same."
        )
    with gates_alone() as at:
        # One after the other, and none while a launch looks at the latest.
        flag = Flag.objects.select_for_update(no_key=True).get(pk=flag_id)
        if verdict is Verdict.NO_GO:
            planned = flag.proposals.filter(
                state__in=OPEN_STATES, changes__everyone=True
            )
            for proposal_id in list(planned.values_list("pk", flat=True)):
                changes.cancel(proposal_id, by)
        return LaunchDecision.objects.create(
            flag=flag, verdict=verdict, by=by, at=at, remark=remark, snapshot=snapshot
        )


def launch(
    flag_id: int, why: Why, not_green: Collection[str], due_at: datetime | None = None
) -> FlagChange | FlagProposal:
    """Open the flag for everyone: now, at `due_at`, or once another approves.

    not_green: names of the report's lines that are not green now. Raises ChangeRefused
    without a fresh go that knew of them.
    """
    with gates_alone():
        flag = Flag.objects.select_for_update(no_key=True).get(pk=flag_id)
        if flag.everyone:
            raise ChangeRefused(f"{flag} is launched already.")
        check_go(flag, not_green)
        return changes.change(flag_id, {"everyone": True}, why, due_at)


def check_go(flag: Flag, not_green: Collection[str]) -> None:
    """Raise ChangeRefused unless a launch may rest on the latest decision; see launch()."""
    decision = flag.decisions.first()
    if decision is None:
        raise ChangeRefused("Nobody has decided yet. Decide on the readiness report.")
    if decision.verdict != Verdict.GO:
        raise ChangeRefused(f"The latest decision is a no-go, by {decision.by}.")
    shut = flag.changes.filter(_SHUT, at__gte=decision.at).first()
    if shut is not None:
        raise ChangeRefused(
            f"It was shut since the decision, by {shut.by}: {shut.reason}. Decide again."
        )
    if decision.at < clock() - FRESH:
        raise ChangeRefused(
            f"The decision is older than {FRESH.days} days. Decide on the report of now."
        )
    if news := set(not_green) - decision.not_green:
        raise ChangeRefused(
            f"Not green any more since the decision: {', '.join(sorted(news))}. "
            "Decide again on the report of now."
        )


def take_launch_back(flag_id: int, why: Why) -> FlagChange | FlagProposal:
    """Have the flag open for whom it was before its launch. Raises ChangeRefused.

    What runs goes on. The lists themselves were never touched by the launch.
    """
    with gates_alone():
        flag = Flag.objects.select_for_update(no_key=True).get(pk=flag_id)
        if not flag.everyone:
            raise ChangeRefused(f"{flag} is not launched.")
        opened = flag.changes.filter(OPENED).first()
        before = opened.before["everyone"] if opened else None
        return changes.change(flag_id, {"everyone": before}, why)
