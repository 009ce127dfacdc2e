"""Grant an account a trial, and cut one short: staff's, each with a reason."""

from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction

from instances.choices import AfterTrial, EventAction, TrialEnd
from instances.exceptions import InvalidRequest, TrialEnded
from instances.models import Account, Plan, Trial
from instances.moments import time_of
from instances.trials import End, end_trial, settled, tell, what_follows
from instances.usage import follow_tags
from inventory.ledger import clock

EMPLOYEES_PAY_NOTHING = "An employee's account is not billed anyway."


@dataclass(frozen=True, slots=True)
class Grant:
    """What is granted, from now on. plans: with cards, at least one. by: user:NAME.

    cards: at once; card_hours: in all. grace_hours: from its end to the deletion.
    """

    account: Account
    plans: tuple[Plan, ...]
    cards: int
    card_hours: int
    by: str
    reason: str
    days: int = 7
    at_end: AfterTrial = AfterTrial.DELETE
    grace_hours: int = 24


def grant(order: Grant) -> Trial:
    """Begin a trial. Raises InvalidRequest with what is wrong; one at a time is open."""
    with transaction.atomic():
        accounts = Account.objects.select_for_update(no_key=True)
        account = accounts.get(pk=order.account.pk)
        before = _last_of(account)
        if problem := _problem(order, account, before):
            raise InvalidRequest([(None, problem)])
        # A clock that was set back begins no second trial within the first.
        now = clock()
        begin = max(now, before.ended_at or now) if before else now
        trial = Trial.objects.create(
            account=account,
            cards=order.cards,
            card_hours=order.card_hours,
            starts_at=begin,
            ends_at=begin + timedelta(days=order.days),
            at_end=order.at_end,
            grace_hours=order.grace_hours,
            granted_by=order.by,
            reason=order.reason,
        )
        trial.plans.set(order.plans)
        tell(trial, EventAction.TRIAL_GRANTED, _granted(trial, order))
    return trial


def _last_of(account: Account) -> Trial | None:
    """Return the account's last trial, ended if it is over."""
    last = Trial.objects.filter(account=account).order_by("-starts_at").first()
    return settled(last.pk, clock()) if last else None


def _problem(order: Grant, account: Account, before: Trial | None) -> str:
    if account.is_employee:
        return EMPLOYEES_PAY_NOTHING
    if before is not None and before.ended_at is None:
        return f"{before} runs until {time_of(before.ends_at)}: cut it short first."
    if not order.plans or not all(plan.cards for plan in order.plans):
        return "Name plans with cards."
    if min(plan.cards for plan in order.plans) > order.cards:
        return "None of the plans fits in so few cards."
    return ""


def _granted(trial: Trial, order: Grant) -> str:
    plans = ", ".join(sorted(plan.slug for plan in order.plans))
    return (
        f"{trial.cards} GPUs at once and {trial.card_hours} GPU hours in all, as {plans}, "
        f"until {time_of(trial.ends_at)}. {what_follows(trial)}"
    )


def cut_short(
    trial_id: int, by: str, remark: str, at_end: AfterTrial | None = None
) -> Trial:
    """End a trial now. at_end: what becomes of its instances, if not what was granted.

    Raises TrialEnded if it is over.
    """
    with transaction.atomic():
        now = clock()
        trial = settled(trial_id, now)
        is_over = trial.ended_at is not None
        if not is_over:
            at = min(max(now, trial.starts_at), trial.ends_at)
            end_trial(trial, End(at, TrialEnd.CUT, by, remark), at_end)
    # What this leaves undone, the next look at trials does.
    follow_tags([trial.account_id])
    if is_over:
        raise TrialEnded(f"{trial} has ended already.")
    return trial
