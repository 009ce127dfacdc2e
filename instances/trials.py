"""Which trial a launch is part of, and when a trial is over; the only writer of that.

A trial's row is the last lock of all that a transaction takes, and under it nothing else
is waited for: usage is written under the host's lock, and asks here (settled()).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from instances.choices import (
    AfterTrial,
    EntityType,
    EventAction,
    EventStatus,
    TrialEnd,
)
from instances.exceptions import TrialExceeded, TrialOver
from instances.models import Account, Event, Instance, Plan, Trial, UsageInterval
from instances.moments import time_of
from instances.trial_hours import CardSpan, used, used_up_at
from inventory.ledger import clock
from inventory.models import CardClaim

SYSTEM = "system:trials"


@dataclass(frozen=True, slots=True)
class End:
    """When a trial is over, and why. by: user:NAME or system:PART."""

    at: datetime
    reason: TrialEnd
    by: str = SYSTEM
    remark: str = ""


def spans_of(trial: Trial) -> list[CardSpan]:
    """Return what the trial's instances have used, to the microsecond; one query."""
    rows = UsageInterval.objects.filter(instance__trial=trial).order_by()
    found = rows.values_list("starts_at", "ends_at", "plan__cards")
    return [CardSpan(*columns) for columns in found]


def used_of(trial: Trial, now: datetime) -> timedelta:
    """Return the cards' time that the trial has given by now."""
    return used(spans_of(trial), min(now, trial.ended_at or trial.ends_at))


def foreseen(trial: Trial) -> End:
    """Return the end as it will be if what runs goes on: the time's, or the hours'."""
    granted = timedelta(hours=trial.card_hours)
    at = used_up_at(spans_of(trial), granted, trial.ends_at)
    if at is not None:
        return End(at, TrialEnd.USED_UP)
    return End(trial.ends_at, TrialEnd.OVER)


def end_by(trial: Trial, now: datetime) -> datetime | None:
    """Return when the trial was over, noticed or not; None if it runs."""
    if trial.ended_at is not None:
        return trial.ended_at
    end = foreseen(trial)
    return end.at if end.at <= now else None


def running_trial(account: Account) -> Trial | None:
    """Return the account's trial that is not over now; one query if it has none."""
    trial = Trial.objects.filter(account=account, ended_at=None).first()
    if trial is None or end_by(trial, clock()) is not None:
        return None
    return trial


def cards_held(trial: Trial) -> int:
    """Return how many cards the open claims of the trial's instances hold."""
    consumers = Instance.objects.filter(trial=trial).values("uuid")
    return CardClaim.objects.filter(consumer__in=consumers, released_at=None).count()


def excess(trial: Trial, plan: Plan, count: int = 1) -> TrialExceeded | None:
    """Return why the trial cannot take so many more of the plan; nothing is locked."""
    held, wanted = cards_held(trial), count * plan.cards
    if held + wanted > trial.cards:
        return TrialExceeded(allowed=trial.cards, used=held, wanted=wanted)
    return None


def trial_for(account: Account, plan: Plan) -> Trial | None:
    """Return the account's running trial if that is of the plan; nothing is locked."""
    trial = running_trial(account)
    return trial if trial and trial.plans.filter(pk=plan.pk).exists() else None


def admit(account: Account, plan: Plan) -> Trial | None:
    """Return the trial that a launch of the plan is part of; None if it is an ordinary one.

    The account stays locked until the caller's transaction ends, if there is a trial: two
    creates count one after another. Raises TrialExceeded.
    """
    trial = trial_for(account, plan)
    if trial is None:
        return None
    _lock_account(account)
    if refusal := excess(trial, plan):
        raise refusal
    return trial


def admit_resize(instance: Instance, plan: Plan) -> bool:
    """Say whether the instance's trial takes the new plan instead of its old one.

    False if none runs, or none of that plan: then it is for the quota. Raises TrialExceeded,
    also where a running trial has no such plan: its instance would go on unpaid.
    """
    if instance.trial_id is None:
        return False
    trial = running_trial(instance.account)
    if trial is None or trial.pk != instance.trial_id:
        return False
    _lock_account(instance.account)
    held = cards_held(trial) - instance.plan.cards
    is_granted = trial.plans.filter(pk=plan.pk).exists()
    if not is_granted or held + plan.cards > trial.cards:
        raise TrialExceeded(
            allowed=trial.cards if is_granted else 0, used=held, wanted=plan.cards
        )
    return True


def _lock_account(account: Account) -> None:
    Account.objects.select_for_update(no_key=True).get(pk=account.pk)


def refuse_if_over(instance: Instance) -> None:
    """Raise TrialOver for an instance that only waits for its deletion after a trial."""
    if instance.trial_id is None:
        return
    trial = Trial.objects.get(pk=instance.trial_id)
    if trial.at_end == AfterTrial.DELETE and end_by(trial, clock()) is not None:
        raise TrialOver


def settled(trial_id: int, now: datetime) -> Trial:
    """Lock the trial until the transaction's end; if it is over by now, write that down.

    Its end is a moment that the grant and the usage fix, and not the one of this call.
    """
    rows = Trial.objects.select_for_update(no_key=True)
    trial = rows.get(pk=trial_id)
    if trial.ended_at is None:
        end = foreseen(trial)
        if end.at <= now:
            end_trial(trial, end)
    return trial


def end_trial(trial: Trial, end: End, at_end: AfterTrial | None = None) -> None:
    """End a locked trial, once, and tell its account. at_end: if that is to change.

    What is deleted is told of first: its grace counts from then.
    """
    trial.ended_at, trial.end_reason = end.at, end.reason
    trial.ended_by, trial.end_remark = end.by, end.remark
    trial.at_end = at_end or trial.at_end
    if trial.at_end == AfterTrial.DELETE:
        trial.delete_at = clock() + timedelta(hours=trial.grace_hours)
    trial.save(
        update_fields=[
            *("ended_at", "end_reason", "ended_by", "end_remark"),
            *("at_end", "delete_at"),
        ]
    )
    tell(
        trial, EventAction.TRIAL_ENDED, f"It ended at {time_of(end.at)}. {_next(trial)}"
    )


def _next(trial: Trial) -> str:
    if trial.delete_at is None:
        return "Its Linodes are billed from then on."
    return (
        "Its Linodes are shut down, and deleted with all that is on them at "
        f"{time_of(trial.delete_at)}."
    )


def what_follows(trial: Trial) -> str:
    """Return what becomes of its Linodes, as warnings say it."""
    if trial.at_end == AfterTrial.BILL:
        return "Linodes of it that are there then are billed from then on."
    return (
        "Linodes of it are shut down then, and deleted with all that is on them "
        f"{trial.grace_hours} hours later."
    )


def tell(trial: Trial, action: EventAction, message: str) -> None:
    """Write the account's event, which its webhooks get too."""
    Event.objects.create(
        account_id=trial.account_id,
        action=action,
        status=EventStatus.NOTIFICATION,
        entity_type=EntityType.TRIAL,
        entity_id=trial.pk,
        entity_label=str(trial),
        message=message[:500],
        percent_complete=100,
    )
