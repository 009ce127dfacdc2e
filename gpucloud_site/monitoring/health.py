"""Whether this installation can serve, part by part, with what to do where it cannot."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from django.db import InterfaceError, OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from gpucloud_site.figures import open_jobs
from instances.heartbeats import WORKERS
from instances.jobs.leases import waiting_jobs
from instances.models import Heartbeat
from inventory.ledger import clock

# Three times the schedule whose task gives the sign (instances.tasks).
WORKERS_SILENT_S = 180.0
JOB_WAITS_S = 300.0


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that must be well. remedy: what a person does, empty while it is."""

    name: str
    is_well: bool
    text: str
    remedy: str = ""


def health(names: Iterable[str] = ()) -> list[Part]:
    """Return the parts of these names, or all, in order; a few queries.

    What rests on a part that is not well is not asked. An unknown name is left out.
    """
    parts: list[Part] = []
    missing = ""
    for name in PARTS:
        if missing:
            part = Part(name, False, _("not known: see %(part)s") % {"part": missing})
        else:
            part = _look(name)
            missing = name if name in _BASIS and not part.is_well else ""
        parts.append(part)
    wanted = set(names) or PARTS.keys()
    return [part for part in parts if part.name in wanted]


def _look(name: str) -> Part:
    try:
        return PARTS[name]()
    except (InterfaceError, OperationalError) as error:
        connection.close()
        return Part(
            name,
            False,
            _("the database does not answer (%(error)s)")
            % {"error": type(error).__name__},
            _("Start PostgreSQL, or correct DATABASE_URL."),
        )


def _database() -> Part:
    clock()
    return Part("database", True, _("answers"))


def _migrations() -> Part:
    applied = set(MigrationRecorder(connection).applied_migrations())
    missing = sorted(_known_migrations() - applied)
    if not missing:
        return Part("migrations", True, _("all applied"))
    app, name = missing[0]
    return Part(
        "migrations",
        False,
        ngettext(
            "%(number)s of this release is not applied, first %(first)s",
            "%(number)s of this release are not applied, first %(first)s",
            len(missing),
        )
        % {"number": len(missing), "first": f"{app}.{name}"},
        _("Run manage.py migrate."),
    )


@lru_cache(maxsize=1)
def _known_migrations() -> frozenset[tuple[str, str]]:
    """Return those of this process's code, which does not change while it runs."""
    return frozenset(MigrationLoader(None).graph.nodes)


def _workers() -> Part:
    last = Heartbeat.objects.filter(part=WORKERS).first()
    start = _(
        "Start a cluster: manage.py run_workers. If one runs, its log tells why it stands "
        "still; if all its workers are busy, raise GPUCLOUD_WORKERS."
    )
    if last is None:
        return Part(WORKERS, False, _("none has ever worked"), start)
    now = clock()
    silent_s = (now - last.at).total_seconds()
    text = _("last at work %(age)s ago (%(who)s)") % {
        "age": age_of(last.at, now),
        "who": last.by,
    }
    if silent_s <= WORKERS_SILENT_S:
        return Part(WORKERS, True, text)
    return Part(WORKERS, False, text, start)


def _jobs() -> Part:
    now = clock()
    oldest = waiting_jobs().order_by("created_at").first()
    if oldest is None:
        told = _("%(jobs)s open, none waits for a worker")
        return Part("jobs", True, told % {"jobs": open_jobs().count()})
    text = _("%(job)s waits for a worker for %(age)s") % {
        "job": oldest,
        "age": age_of(oldest.created_at, now),
    }
    if (now - oldest.created_at).total_seconds() <= JOB_WAITS_S:
        return Part("jobs", True, text)
    return Part(
        "jobs",
        False,
        text,
        _(
            "Workers are too few or busy with hosts that do not answer: raise "
            "GPUCLOUD_WORKERS, start more clusters, and see which hosts are silent."
        ),
    )


PARTS: dict[str, Callable[[], Part]] = {
    "database": _database,
    "migrations": _migrations,
    WORKERS: _workers,
    "jobs": _jobs,
}
_BASIS = ("database", "migrations")


def age_of(since: datetime, now: datetime) -> str:
    """Return such as "12 s", or from two minutes on "5 minutes"."""
    seconds = int((now - since).total_seconds())
    return f"{seconds} s" if seconds < 120 else timesince(since, now)
