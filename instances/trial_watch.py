"""Look after trials: warn before their end, end them, and stop and delete what they leave.

Whatever is missed, for want of workers or by a crash, the next look does, once: what was
done is told by the rows, and never by the time of the look.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import DatabaseError, transaction
from django.db.models import QuerySet

from instances.choices import AfterTrial, Desired, EventAction
from instances.exceptions import InstanceBusy
from instances.jobs.begin import begin_delete, begin_shut_down
from instances.jobs.overdue import tell_hosts
from instances.models import Instance, Trial
from instances.moments import time_of
from instances.selectors import host_of
from instances.status import Status, status_of
from instances.trials import SYSTEM, foreseen, settled, tell, what_follows
from instances.usage import follow_tags
from inventory.ledger import clock
from inventory.models import Host

logger = logging.getLogger(__name__)

# Seconds before the end, each once; a trial that is no longer than that has none.
WARNINGS_S = (24 * 3600, 3600)
_LATE = timedelta(minutes=15)
_AT_ONCE = 100
_SOURCE, _CODE = "trials", "overdue"


def look_after() -> list[int]:
    """Do all that is due; return the ids of jobs to enqueue.

    Three queries while no trial runs and none has left anything.
    """
    running = Trial.objects.filter(ended_at=None).order_by("pk")
    for trial_id in list(running.values_list("pk", flat=True)):
        with _others_go_on(f"trial {trial_id}"):
            _end_or_warn(trial_id)
    if (left := _left_over()).exists():
        follow_tags(left.values_list("account", flat=True))
    to_go = _left_over().filter(trial__at_end=AfterTrial.DELETE)
    waiting = to_go.exclude(desired=Desired.DELETED).order_by("pk")
    found = list(waiting.values_list("pk", flat=True)[:_AT_ONCE])
    jobs: list[int] = []
    for instance_id in found:
        with _others_go_on(f"instance {instance_id} of a trial"):
            jobs += _clear(instance_id)
    _tell_of_late(to_go)
    return jobs


@contextmanager
def _others_go_on(about: str) -> Iterator[None]:
    """Log what the database refuses of one: that keeps nobody else waiting."""
    try:
        yield
    except DatabaseError:
        logger.exception("%s was not looked after", about)


def _left_over() -> QuerySet[Instance]:
    """Return what is still there of trials that are over."""
    return Instance.objects.filter(trial__ended_at__isnull=False, ended_at=None)


@transaction.atomic
def _end_or_warn(trial_id: int) -> None:
    now = clock()
    trial = settled(trial_id, now)
    if trial.ended_at is not None:
        return
    end = foreseen(trial).at
    length = (trial.ends_at - trial.starts_at).total_seconds()
    left = (end - now).total_seconds()
    due = [seconds for seconds in WARNINGS_S if left <= seconds < length]
    # A forecast or a clock that goes back again repeats nothing.
    if not due or (trial.warned_s is not None and trial.warned_s <= min(due)):
        return
    trial.warned_s = min(due)
    trial.save(update_fields=["warned_s"])
    message = f"It ends at {time_of(end)}. {what_follows(trial)}"
    tell(trial, EventAction.TRIAL_ENDING, message)


@transaction.atomic
def _clear(instance_id: int) -> list[int]:
    """Begin what is due of one instance; busy ones have their turn at the next look."""
    instance = Instance.objects.select_related("trial").get(pk=instance_id)
    trial = instance.trial
    assert trial is not None  # noqa: S101 -- it was found by its trial
    assert trial.delete_at is not None  # noqa: S101 -- a constraint of the table
    try:
        with transaction.atomic():
            if trial.delete_at <= clock():
                return [begin_delete(instance, SYSTEM, "").pk]
            if status_of(instance) is Status.OFFLINE:
                return []
            job = begin_shut_down(instance.pk, SYSTEM, "")
            return [job.pk] if job else []
    except InstanceBusy:
        return []


def _tell_of_late(to_go: QuerySet[Instance]) -> None:
    """Raise an alert for each host whose guests of a trial run on, clear the others'."""
    now = clock()
    late: dict[Host, list[str]] = defaultdict(list)
    for instance in to_go.select_related("trial", "account", "plan", "region", "image"):
        if _is_late(instance, now) and (host := host_of(instance)) is not None:
            late[host].append(f"{instance} of {instance.account}")
    messages = {
        host: f"Trials are over, and {', '.join(names)} is not off or gone yet: see its "
        "jobs and the host's connection. It is tried again each minute."
        for host, names in late.items()
    }
    tell_hosts(messages, _SOURCE, _CODE, SYSTEM)


def _is_late(instance: Instance, now: datetime) -> bool:
    trial = instance.trial
    if trial is None or trial.delete_at is None:
        return False
    if now >= trial.delete_at + _LATE:
        return True
    told_at = trial.delete_at - timedelta(hours=trial.grace_hours)
    return now >= told_at + _LATE and status_of(instance) is not Status.OFFLINE
