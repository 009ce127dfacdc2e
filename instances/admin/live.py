"""What changes on an instance's page while it is open: steps, placement and console."""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any, Protocol

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.translation import gettext as _

from instances.choices import ENDED_JOB_STATES, Desired, Phase, StepState
from instances.console import read_console
from instances.holdings import holding_of
from instances.models import Instance, Job, JobStep
from instances.selectors import host_of
from instances.status import Status, status_of
from inventory.choices import HostConnection
from inventory.exceptions import HypervisorError

CONSOLE_BYTES = 8 * 1024
_SYMBOLS = {
    StepState.PENDING: "○",
    StepState.RUNNING: "◐",
    StepState.DONE: "✓",
    StepState.FAILED: "✗",
    StepState.UNDONE: "↶",
}
# ECMA-48 control sequences, and control characters that are no line break or tab.
_UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
_WITHOUT_A_CONSOLE = (Phase.PROVISIONING,)


@dataclass(frozen=True, slots=True)
class StepRow:
    """symbol: tells the state without colour. took_s: so far, while it runs."""

    step: JobStep
    symbol: str
    took_s: float | None


@dataclass(frozen=True, slots=True)
class JobRow:
    job: Job
    steps: tuple[StepRow, ...]
    is_open: bool
    took_s: float | None


class Fragment(Protocol):
    def __call__(self, request: HttpRequest, object_id: int) -> HttpResponse: ...


def fragment(view: Fragment) -> Fragment:
    """Let staff who may see instances have a part of a page.

    Whose session ended has the whole page loaded again: a redirect would put the login
    form into the middle of this one.
    """

    @wraps(view)
    def checked(request: HttpRequest, object_id: int) -> HttpResponse:
        if not admin.site.has_permission(request):
            return HttpResponse(headers={"HX-Refresh": "true"})
        if not request.user.has_perm("instances.view_instance"):
            raise PermissionDenied
        response = view(request, object_id)
        response["Cache-Control"] = "no-store"
        return response

    return checked


@fragment
def progress(request: HttpRequest, object_id: int) -> HttpResponse:
    """Answer the steps and the placement, as they are now; nine queries."""
    instance = get_object_or_404(Instance, pk=object_id)
    return render(request, "admin/instances/instance/live.html", live(instance))


@fragment
def console(request: HttpRequest, object_id: int) -> HttpResponse:
    """Answer the console's last lines; blocks on the host up to the driver's deadline."""
    instance = get_object_or_404(
        Instance.objects.select_related("account", "plan", "region", "image"),
        pk=object_id,
    )
    text, problem = _console_of(instance)
    context = {
        "instance": instance,
        "text": text,
        "problem": problem,
        "goes_on": not instance.is_ended,
    }
    return render(request, "admin/instances/instance/console.html", context)


def live(instance: Instance) -> dict[str, Any]:
    """Return the live part's context. jobs: the newest first, three at most."""
    now = timezone.now()
    jobs = [
        _job_row(job, now)
        for job in instance.jobs.prefetch_related("steps").order_by("-pk")[:3]
    ]
    return {
        "instance": instance,
        "jobs": jobs,
        "is_at_work": any(row.is_open for row in jobs),
        "power_note": _power_note(instance, at_work=any(row.is_open for row in jobs)),
        "holding": holding_of(instance),
    }


def _power_note(instance: Instance, *, at_work: bool) -> str:
    """Say what the machine is now, and why it cannot be switched if it cannot."""
    if instance.is_ended:
        return ""
    if instance.desired == Desired.DELETED:
        return _("It is being deleted: nothing else can be done with it.")
    if at_work:
        return _("While work on it is open, it can only be deleted.")
    if status_of(instance) is Status.OFFLINE:
        return _(
            "It is off, and holds its cards, cores, memory, disk and address until it is "
            "deleted. Its password can be reset."
        )
    return _("It runs. To reset its password, shut it down first.")


def _job_row(job: Job, now: datetime) -> JobRow:
    steps = tuple(
        StepRow(
            step,
            _SYMBOLS[StepState(step.state)],
            _seconds(step.started_at, step.finished_at or now),
        )
        for step in job.steps.all()
    )
    return JobRow(
        job,
        steps,
        job.state not in ENDED_JOB_STATES,
        _seconds(job.created_at, job.finished_at or now),
    )


def _seconds(start: datetime | None, end: datetime) -> float | None:
    return max(0.0, (end - start).total_seconds()) if start else None


def _console_of(instance: Instance) -> tuple[str, str]:
    """Return (text, problem): one of them, or neither, may be empty."""
    if instance.is_ended:
        return "", _("The instance has ended, and its console with it.")
    if instance.phase in _WITHOUT_A_CONSOLE:
        return "", _("Nothing runs yet.")
    host = host_of(instance)
    if host is not None and host.connection != HostConnection.OK:
        # Asking would hold a thread of the web server until the deadline, every time.
        return "", _("%(host)s does not answer: its console cannot be read now.") % {
            "host": host
        }
    try:
        text = read_console(instance, CONSOLE_BYTES)
    except HypervisorError as error:
        return "", _("The console cannot be read now: %(error)s") % {"error": error}
    lines = _UNPRINTABLE.sub("", text.replace("\r\n", "\n"))
    return lines, "" if lines else _("The guest has written nothing yet.")
