"""Tell people of jobs that are past their deadline and cannot be given up."""

from collections import defaultdict
from collections.abc import Mapping

from django.db.models.functions import Now

from instances.choices import ENDED_JOB_STATES
from instances.models import Job
from instances.selectors import host_of
from inventory.alerts import Subject, clear_alerts, raise_alert
from inventory.choices import AlertClass
from inventory.models import Alert, Host

_SOURCE = "jobs"
_CODE = "overdue"
_SYSTEM = "system:jobs"
_AT_ONCE = 1000


def tell_of_overdue() -> int:
    """Raise one alert for each host with overdue jobs, clear the others'; return how many.

    What may be undone is undone by its worker; a delete, a check of a card and what
    undoes a launch wait for their host, and a person may know why it is silent.
    """
    late: dict[Host, list[Job]] = defaultdict(list)
    for job in _overdue():
        if (host := _host_of(job)) is not None:
            late[host].append(job)
    messages = {host: _message(jobs) for host, jobs in late.items()}
    tell_hosts(messages, _SOURCE, _CODE, _SYSTEM)
    return len(late)


def tell_hosts(
    messages: Mapping[Host, str], source: str, code: str, actor: str
) -> None:
    """Raise or renew one alert of this source and code a host, clear all other hosts'."""
    for host, message in messages.items():
        raise_alert(Subject(host=host), AlertClass.WARNING, source, code, message)
    told = Alert.objects.filter(source=source, code=code, cleared_at=None)
    for alert in told.exclude(host__in=list(messages)).select_related("host"):
        clear_alerts(Subject(host=alert.host), source, code, actor)


def _overdue() -> list[Job]:
    return list(
        Job.objects.exclude(state__in=ENDED_JOB_STATES)
        .filter(deadline_at__lt=Now())
        .select_related("instance", "card__host")
        .order_by("deadline_at")[:_AT_ONCE]
    )


def _host_of(job: Job) -> Host | None:
    return job.card.host if job.card else host_of(job.for_instance)


def _message(jobs: list[Job]) -> str:
    first = jobs[0]
    many = f"{len(jobs)} jobs are" if len(jobs) > 1 else "A job is"
    why = first.internal_detail.partition("\n")[0]
    return (
        f"{many} past the deadline, {first} ({first.subject}) since "
        f"{first.deadline_at:%Y-%m-%d %H:%M:%S} UTC"
        f"{f': {why}' if why else ''}. It goes on when the host lets it: see the host's "
        "connection, and its jobs."
    )
