"""Entry points of django-q2; with the broker the only module that imports it.

A task carries an id and nothing else: arguments are pickled, and shown in the admin.
"""

from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Min
from django.db.models.functions import Now
from django.utils import timezone
from django_q.models import OrmQ, Schedule, Task  # noqa: TID251
from django_q.tasks import async_task, result  # noqa: TID251

from flags import changes
from instances import (
    filter_work,
    heartbeats,
    holds,
    image_catalogue,
    invoicing,
    launch_notices,
    reconcile,
    report_mail,
    retention,
    trial_watch,
    usage,
    waitlist,
    watchdog,
    webhooks,
)
from instances.cluster import Leftovers
from instances.jobs import card_work, leases, overdue, runner

# How often, in minutes.
_SCHEDULES = {
    "instances.tasks.enqueue_due_jobs": 1,
    "instances.tasks.look_after_fleet": 1,
    "instances.tasks.prune": 60,
    "instances.tasks.make_invoices": 60,
    "instances.tasks.mail_reports": 15,
    "instances.tasks.look_after_trials": 1,
}
# Of the advisory lock of who changes them; flags.gate_lock has another.
_SCHEDULES_KEY = 0x5C4ED


def enqueue_job(job_id: int) -> None:
    """Have a worker run the job; in a transaction, if and only if that commits."""
    async_task("instances.tasks.run_job", job_id, task_name=f"job {job_id}")


def enqueue_jobs(job_ids: Iterable[int]) -> None:
    for job_id in job_ids:
        enqueue_job(job_id)


def run_job(job_id: int) -> None:
    enqueue_jobs(runner.run(job_id))


def enqueue_due_jobs() -> int:
    """Deliver again what was lost or postponed; returns how many."""
    heartbeats.beat(heartbeats.WORKERS)
    job_ids = leases.due_jobs()
    enqueue_jobs(job_ids)
    for image_id in image_catalogue.due_images():
        enqueue_image(image_id)
    overdue.tell_of_overdue()
    webhooks.give_up_late()
    usage.follow_tags()
    return len(job_ids)


def prune() -> dict[str, int]:
    """Delete what is old; returns how many rows, by table."""
    age = timedelta(days=settings.KEEP_TASKS_DAYS)
    old = Task.objects.filter(stopped__lt=timezone.now() - age)
    return {**retention.prune(), Task.__name__: retention.delete_all(old)}


def make_invoices() -> int:
    """Invoice the months that are over; returns how many invoices were made."""
    return invoicing.make_invoices()


def mail_reports() -> bool:
    """Mail last week's reports, once; says whether that was now. It waits for no other."""
    return report_mail.send_due()


def look_after_trials() -> int:
    """Warn of, end and clear up after trials; returns how many jobs that began."""
    job_ids = trial_watch.look_after()
    enqueue_jobs(job_ids)
    return len(job_ids)


def put_back(left: Leftovers) -> None:
    """Give other workers what a cluster of this machine took and will not end.

    What it had begun is not delivered again as it is, but by what our rows say of it: a
    task that kills its worker would do so for ever (django-q2 #327).
    """
    OrmQ.objects.filter(pk__in=left.waiting).update(lock=timezone.now())
    OrmQ.objects.filter(pk__in=left.lost).delete()
    enqueue_jobs(leases.let_go_of_dead())


def enqueue_image(image_id: int) -> None:
    """Have a worker fetch and check an image; if and only if the transaction commits."""
    async_task("instances.tasks.check_image", image_id, task_name=f"image {image_id}")


def check_image(image_id: int) -> None:
    image_catalogue.check_image(image_id)


def look_after_fleet() -> None:
    """Enqueue what is due of hosts, cards, firewalls and webhooks; `watch` does so each second.

    Flags change that are due, what is held beyond its time is freed, and those are told who
    wait for capacity or a launch, which asks no host.
    One task a host: a frozen one holds one worker for its deadline and no other host.
    """
    # First what sales depend on: should anything below fail, hosts are looked at still.
    for host_id in reconcile.take_due_hosts():
        enqueue_reconcile(host_id)
    for host_id in card_work.hosts_with_work():
        enqueue_jobs(card_work.plan(host_id))
    changes.apply_due()
    holds.expire_due()
    waitlist.tell_waiting()
    launch_notices.tell_launched()
    enqueue_jobs(filter_work.begin_due())
    for webhook_id in webhooks.take_due():
        enqueue_webhook(webhook_id)


def enqueue_webhook(webhook_id: int) -> None:
    async_task(
        "instances.tasks.send_to_webhook", webhook_id, task_name=f"webhook {webhook_id}"
    )


def send_to_webhook(webhook_id: int) -> int:
    return webhooks.send_due(webhook_id)


def enqueue_reconcile(host_id: int) -> None:
    async_task("instances.tasks.reconcile_host", host_id, task_name=f"host {host_id}")


def reconcile_host(host_id: int) -> int:
    """Compare one host with its rows; returns the number of open discrepancies."""
    found = reconcile.reconcile(host_id, go_on=enqueue_jobs)
    filter_work.sweep(host_id)
    enqueue_jobs((*watchdog.revive(host_id), *card_work.plan(host_id)))
    return len(found)


def queue_depth() -> tuple[int, float]:
    """Return how many tasks wait for a worker, and for how many seconds the oldest does.

    A lock in the future is of a task that a cluster has taken, or that is for later.
    """
    depth, oldest = (
        OrmQ.objects.filter(lock__lt=Now())
        .aggregate(depth=Count("pk"), oldest=Min("lock"))
        .values()
    )
    now = timezone.now()
    return depth, max((now - oldest).total_seconds(), 0.0) if oldest else 0.0


def answer() -> str:
    return "alive"


def workers_answer(wait_s: float) -> bool:
    """Say whether a worker ran a task within `wait_s` seconds."""
    task_id = async_task("instances.tasks.answer", task_name="sign of life", save=True)
    return result(task_id, wait=int(wait_s * 1000)) == "alive"


def begin_schedules() -> None:
    """Give a new database its schedules; one at work keeps those of the workers at work."""
    if not Schedule.objects.exists():
        ensure_schedules()


def ensure_schedules() -> None:
    """Have exactly the schedules that the code names, each once, whatever was here before."""
    with transaction.atomic(), connection.cursor() as cursor:
        # Workers of several machines start at once; no key keeps a schedule from being two.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_SCHEDULES_KEY])
        missing = dict(_SCHEDULES)
        for schedule in Schedule.objects.order_by("pk"):
            if (schedule.func, schedule.minutes) in missing.items():
                del missing[schedule.func]
            else:
                schedule.delete()
        Schedule.objects.bulk_create(
            Schedule(
                func=func,
                name=func.rsplit(".", 1)[1],
                schedule_type=Schedule.MINUTES,
                minutes=minutes,
                repeats=-1,
            )
            for func, minutes in missing.items()
        )
