"""Accounts' words on their instances, beside what became of these: what a beta has shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from instances.choices import Phase, Workload
from instances.free_text import is_free_text
from instances.gates import behind
from instances.models import Instance, InstanceFeedback
from instances.models.feedback import LONGEST_TEXT


def of_flag(
    flag_name: str, since: datetime | None = None, until: datetime | None = None
) -> QuerySet[InstanceFeedback]:
    """Return the feedback on instances behind a flag, the newest first, with relations.

    Behind it: by their plan, GPU model or region, as gates_of() has it. since, until: when
    it was last written, `until` itself not included.
    """
    gated = behind(flag_name, "instance__plan", "instance__region")
    rows = InstanceFeedback.objects.filter(gated)
    if since is not None:
        rows = rows.filter(updated_at__gte=since)
    if until is not None:
        rows = rows.filter(updated_at__lt=until)
    return rows.select_related("instance__account", "instance__plan__gpu_model")


def _workload_problem(value: Any) -> str | None:
    if isinstance(value, str) and value in Workload.values:
        return None
    return f"workload must be one of {', '.join(Workload.values)}"


def _text_problem(value: Any) -> str | None:
    if isinstance(value, str) and is_free_text(value, LONGEST_TEXT):
        return None
    return f"text must be at most {LONGEST_TEXT} printable characters or line breaks"


def _again_problem(value: Any) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    return "would_use_again must be true, false or null"


# What is wrong with a field's value, of each field that its account writes.
CHECKS: Mapping[str, Callable[[Any], str | None]] = {
    "workload": _workload_problem,
    "text": _text_problem,
    "would_use_again": _again_problem,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an instance. launched: None while nobody knows.

    to_running: from the request to its end. ended: how, None while it is there.
    """

    launched: bool | None
    to_running: timedelta | None
    ended: Phase | None
    lived: timedelta | None


def outcome_of(instance: Instance) -> Outcome:
    """Return what the instance's own row says, which is never deleted; no query."""
    ready_at, ended_at = instance.ready_at, instance.ended_at
    return Outcome(
        launched=True if ready_at else False if ended_at else None,
        to_running=ready_at - instance.created_at if ready_at else None,
        ended=Phase(instance.phase) if ended_at else None,
        lived=ended_at - ready_at if ended_at and ready_at else None,
    )
