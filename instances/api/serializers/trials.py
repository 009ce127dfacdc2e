"""Trials as plain dicts."""

from datetime import datetime
from typing import cast

from instances.api import wire
from instances.api.shapes import trials as shapes
from instances.models import Instance, Trial
from instances.trials import cards_held, end_by, used_of


def trial_json(trial: Trial, now: datetime) -> shapes.Trial:
    """Return the trial as it is now, also if nobody has noticed its end yet; 5 queries."""
    ended = end_by(trial, now)
    there = Instance.objects.filter(trial=trial, ended_at=None).order_by("pk")
    reason = trial.end_reason or ("over" if ended == trial.ends_at else "used_up")
    return {
        "id": trial.pk,
        "status": "running" if ended is None else "ended",
        "types": sorted(plan.slug for plan in trial.plans.all()),
        "gpus": trial.cards,
        "gpus_used": cards_held(trial),
        "gpu_hours": trial.card_hours,
        "gpu_hours_used": round(used_of(trial, now).total_seconds() / 3600, 2),
        "start": wire.time_of(trial.starts_at),
        "end": wire.time_of(trial.ends_at),
        "ended": None if ended is None else wire.time_of(ended),
        "end_reason": None if ended is None else cast(shapes.EndWord, reason),
        "at_end": cast(shapes.AtEnd, trial.at_end),
        "deletion": wire.time_of(trial.delete_at) if trial.delete_at else None,
        "linodes": list(there.values_list("pk", flat=True)),
    }
