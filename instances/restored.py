"""Make a database that was restored from a backup safe to work with, before anybody does.

What happened since the backup, the rows do not know: whose guests are on the hosts, who had
a card, which numbers were given to customers, what became of the jobs that were open.
"""

from dataclasses import dataclass

from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from instances.choices import (
    CARD_JOBS,
    ENDED_JOB_STATES,
    LAUNCHES,
    RESIZES,
    JobKind,
    JobState,
    ReservationState,
)
from instances.holds import let_go
from instances.jobs import progress
from instances.models import HostImage, Job, Reservation
from inventory.choices import CardCondition, HostConnection, HostPolicy
from inventory.ledger import Actor, change_condition, lock_host, refresh_shape
from inventory.models import CardClaim, Host

_WHY = Actor("system:after_restore", "who used it since the backup is not known")
_GIVEN_UP = "This was interrupted. Please look at the Linode and try again."
_DETAIL = "the database was restored from a backup that was made while this was open"
# They only finish what their customer asked for, and can be done twice: a deleted machine
# stays deleted, and a resize loses no disk. Whatever else is begun again could undo what
# was done since; a rebuild would delete a disk that is in use.
_GO_ON = (JobKind.DELETE, *RESIZES)
_KEPT = (CardCondition.DIRTY, CardCondition.QUARANTINED, CardCondition.RETIRED)
_SEQUENCES = """
SELECT format('%%I.%%I', schemaname, sequencename),
       least(coalesce(last_value, start_value) + %(gap)s, max_value)
  FROM pg_sequences
 WHERE schemaname = current_schema() AND data_type <> 'smallint'::regtype
"""


@dataclass(frozen=True, slots=True)
class Settled:
    """How many of each were changed."""

    hosts: int
    reservations: int
    cards: int
    jobs: int
    sequences: int
    sessions: int


@transaction.atomic
def settle(gap: int) -> Settled:
    """Have nothing sold before it was looked at, nobody's bytes shown, no number given twice.

    gap: by how much every id counter is put forward; more than rows were made of any kind
    since the backup. Every host is unknown until it was compared with its rows; every card
    that no instance holds is scrubbed before it is sold, for which reservations end; jobs
    that were open end, all but those that can be done again; everybody logs in anew.
    Workers and web servers must not run.
    """
    hosts = list(Host.objects.exclude(policy=HostPolicy.RETIRED).order_by("pk"))
    held = Reservation.objects.filter(state=ReservationState.ACTIVE).order_by("pk")
    reservations = [
        let_go(pk, ReservationState.RELEASED, _WHY)
        for pk in held.values_list("pk", flat=True)
    ]
    cards = sum(_doubt_cards(lock_host(host.pk)) for host in hosts)
    Host.objects.filter(pk__in=[host.pk for host in hosts]).update(
        connection=HostConnection.UNKNOWN,
        last_seen_at=None,
        reconciled_at=None,
        reconcile_due_at=Now(),
        failed_looks=0,
    )
    jobs = [_end(job) for job in _open_jobs()]
    # What was on its way may be whole by now, and have disks based on it: it is left alone,
    # where a volume that is known as torn would be deleted.
    HostImage.objects.exclude(upload="").update(upload="", lease_expires_at=None)
    sessions, _ = Session.objects.all().delete()
    return Settled(
        hosts=len(hosts),
        reservations=len(reservations),
        cards=cards,
        jobs=len(jobs),
        sequences=_put_forward(gap),
        sessions=sessions,
    )


def _doubt_cards(host: Host) -> int:
    held = CardClaim.objects.filter(card=OuterRef("pk"), released_at=None)
    cards = list(host.cards.filter(~Exists(held)).exclude(condition__in=_KEPT))
    for card in cards:
        change_condition(card, CardCondition.DIRTY, _WHY)
    refresh_shape(host)
    return len(cards)


def _open_jobs() -> list[Job]:
    jobs = Job.objects.exclude(state__in=ENDED_JOB_STATES).exclude(kind__in=_GO_ON)
    return list(jobs.select_related("instance").order_by("pk"))


def _end(job: Job) -> Job:
    """A launch's instance stays as it is: its host tells whether it came to be."""
    job.public_message = _GIVEN_UP
    Job.objects.filter(pk=job.pk).update(
        state=JobState.FAILED,
        public_message=_GIVEN_UP,
        internal_detail=_DETAIL,
        finished_at=Now(),
        lease_token=None,
        lease_expires_at=None,
    )
    if job.kind in LAUNCHES:
        progress.end_events(job)
    elif job.kind not in CARD_JOBS:
        progress.job_failed(job)
    return job


def _put_forward(gap: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_SEQUENCES, {"gap": gap})
        found = cursor.fetchall()
        for name, value in found:
            cursor.execute("SELECT setval(%s, %s)", [name, value])
    return len(found)
