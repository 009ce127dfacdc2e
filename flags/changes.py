"""Change flags: now, at a time, or once a second person agrees; the only writer of history.

Every change is under the gates' lock, alone: no claim that it would have refused commits
after it. A kill needs nobody's approval, shuts at once, and ends what was planned.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from flags.exceptions import ChangeRefused
from flags.gate_lock import gates_alone
from flags.models import ChangeKind, Flag, FlagChange, FlagProposal, ProposalState
from flags.models.change import OPEN_STATES

# What a person may change; `is_killed` has verbs of its own.
FIELDS = ("everyone", "account_percent", "accounts", "account_tags", "note")


@dataclass(frozen=True, slots=True)
class Why:
    """by: who asks for it, user:NAME. approved_by: the second person, if one is needed."""

    by: str
    reason: str
    approved_by: str = ""


def state_of(flag: Flag) -> dict[str, Any]:
    """Return what is open to whom, as JSON; accounts by their ids."""
    return {
        "everyone": flag.everyone,
        "account_percent": flag.account_percent,
        "accounts": sorted(flag.accounts.values_list("pk", flat=True)),
        "account_tags": sorted(flag.account_tags),
        "note": flag.note,
        "is_killed": flag.is_killed,
    }


def create(name: str, note: str, why: Why) -> Flag:
    """Make a flag, which is shut."""
    with gates_alone() as at:
        flag = Flag(name=name, note=note)
        flag.save()
        _record(flag, ChangeKind.CREATED, {}, why, at)
    return flag


def kill(flag_id: int, why: Why) -> FlagChange:
    """Shut a flag for everybody, at once, and cancel what is planned for it.

    Raises ChangeRefused if it is killed already.
    """
    with gates_alone(by_force=True) as at:
        flag = _locked(flag_id)
        if flag.is_killed:
            raise ChangeRefused(f"{flag} is killed already.")
        planned = FlagProposal.objects.filter(flag=flag, state__in=OPEN_STATES)
        planned.update(state=ProposalState.CANCELLED, ended_at=at, ended_by=why.by)
        return _apply(flag, ChangeKind.KILLED, {"is_killed": True}, why, at)


def take_back(flag_id: int, why: Why) -> FlagChange | FlagProposal:
    """Have a killed flag as it was before the kill. Raises ChangeRefused."""
    return _submit(flag_id, ChangeKind.TAKEN_BACK, {"is_killed": False}, why)


def change(
    flag_id: int, changes: Mapping[str, Any], why: Why, due_at: datetime | None = None
) -> FlagChange | FlagProposal:
    """Have `changes` made now, or at `due_at`; by setting only once another approves.

    changes: of FIELDS, as state_of() gives them. Raises ChangeRefused.
    """
    return _submit(flag_id, ChangeKind.CHANGED, changes, why, due_at)


def _submit(
    flag_id: int,
    kind: ChangeKind,
    changes: Mapping[str, Any],
    why: Why,
    due_at: datetime | None = None,
) -> FlagChange | FlagProposal:
    with gates_alone() as at:
        flag = _locked(flag_id)
        if flag.is_killed != (kind is ChangeKind.TAKEN_BACK):
            raise ChangeRefused(
                f"{flag} is killed: take that back first."
                if flag.is_killed
                else f"{flag} is not killed."
            )
        needs_two = settings.FLAG_CHANGES_NEED_TWO
        if not needs_two and due_at is None:
            return _apply(flag, kind, changes, why, at)
        state = state_of(flag)
        return FlagProposal.objects.create(
            flag=flag,
            kind=kind,
            changes=dict(changes),
            base={field: state[field] for field in changes},
            reason=why.reason,
            proposed_by=why.by,
            due_at=due_at,
            needs_two=needs_two,
            state=ProposalState.WAITING if needs_two else ProposalState.SCHEDULED,
        )


def approve(proposal_id: int, by: str) -> FlagProposal:
    """Agree to a proposal as its second person; it is made now, or at its time.

    Raises ChangeRefused.
    """
    with gates_alone() as at:
        proposal = _open_proposal(proposal_id)
        if proposal.state != ProposalState.WAITING:
            raise ChangeRefused("It waits for nobody's approval.")
        if proposal.proposed_by == by:
            raise ChangeRefused("Whoever proposed it cannot approve it: ask another.")
        proposal.approved_by = by
        if proposal.due_at is not None and proposal.due_at > at:
            proposal.state = ProposalState.SCHEDULED
            proposal.save(update_fields=["approved_by", "state"])
        else:
            _make(proposal, at)
    return proposal


def cancel(proposal_id: int, by: str) -> None:
    """Have a proposal not made. Raises ChangeRefused if it is over."""
    with gates_alone() as at:
        _end(_open_proposal(proposal_id), ProposalState.CANCELLED, at, by)


def apply_due() -> int:
    """Make what was scheduled and is due; return how many. Any number of processes may.

    Each in a transaction of its own: after a crash, or a time without workers, the rest
    is made by the next call, once.
    """
    due = FlagProposal.objects.filter(
        state=ProposalState.SCHEDULED, due_at__lte=Now()
    ).order_by("due_at", "pk")
    return sum(_make_due(pk) for pk in list(due.values_list("pk", flat=True)))


def _make_due(proposal_id: int) -> bool:
    try:
        with gates_alone() as at:
            return _make(_open_proposal(proposal_id), at)
    except ChangeRefused:
        # Another made or ended it meanwhile, or a claim takes long: the next call looks.
        return False


def _make(proposal: FlagProposal, at: datetime) -> bool:
    flag = _locked(proposal.flag_id)
    state = state_of(flag)
    if any(state[field] != value for field, value in proposal.base.items()):
        _end(proposal, ProposalState.OUTDATED, at, "")
        return False
    why = Why(proposal.proposed_by, proposal.reason, proposal.approved_by)
    kind = ChangeKind(proposal.kind)
    proposal.change = _apply(flag, kind, proposal.changes, why, at)
    _end(proposal, ProposalState.APPLIED, at, proposal.approved_by or why.by)
    return True


def _end(proposal: FlagProposal, state: ProposalState, at: datetime, by: str) -> None:
    proposal.state, proposal.ended_at, proposal.ended_by = state, at, by
    proposal.save(
        update_fields=["state", "ended_at", "ended_by", "approved_by", "change"]
    )


def _locked(flag_id: int) -> Flag:
    return Flag.objects.select_for_update(no_key=True).get(pk=flag_id)


def _open_proposal(proposal_id: int) -> FlagProposal:
    rows = FlagProposal.objects.select_for_update(of=("self",)).select_related("flag")
    proposal = rows.filter(pk=proposal_id, state__in=OPEN_STATES).first()
    if proposal is None:
        raise ChangeRefused("This proposal is over.")
    return proposal


def _apply(
    flag: Flag, kind: ChangeKind, changes: Mapping[str, Any], why: Why, at: datetime
) -> FlagChange:
    before = state_of(flag)
    columns = {name: value for name, value in changes.items() if name != "accounts"}
    Flag.objects.filter(pk=flag.pk).update(**columns, modified=at)
    if "accounts" in changes:
        flag.accounts.set(changes["accounts"])
    flag.refresh_from_db()
    return _record(flag, kind, before, why, at)


def _record(
    flag: Flag, kind: ChangeKind, before: dict[str, Any], why: Why, at: datetime
) -> FlagChange:
    return FlagChange.objects.create(
        flag=flag,
        kind=kind,
        at=at,
        by=why.by,
        approved_by=why.approved_by,
        reason=why.reason,
        before=before,
        after=state_of(flag),
    )
