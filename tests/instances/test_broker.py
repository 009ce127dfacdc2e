"""The broker: a task exists if its transaction commits, and wakes a waiting worker."""

import threading
import time
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.utils.timezone import now
from django_q.models import OrmQ, Schedule

from instances.broker import NotifyingBroker
from instances.cluster_signs import FOLDER_VARIABLE, Signs
from instances.tasks import begin_schedules, enqueue_job, ensure_schedules
from tests.sessions import cut_off

SCHEDULED = [
    ("instances.tasks.enqueue_due_jobs", 1),
    ("instances.tasks.look_after_fleet", 1),
    ("instances.tasks.look_after_trials", 1),
    ("instances.tasks.mail_reports", 15),
    ("instances.tasks.make_invoices", 60),
    ("instances.tasks.prune", 60),
]


@pytest.mark.django_db(transaction=True)
def test_task_of_a_transaction_that_is_rolled_back_never_was() -> None:
    with transaction.atomic():
        enqueue_job(1)
        assert OrmQ.objects.count() == 1
        transaction.set_rollback(True)

    assert OrmQ.objects.count() == 0
    assert NotifyingBroker().dequeue() is None


@pytest.mark.django_db(transaction=True)
def test_waiting_worker_is_woken_by_the_commit() -> None:
    taken: list[object] = []
    waiting = threading.Event()

    def wait() -> None:
        broker = NotifyingBroker()
        waiting.set()
        deadline = time.monotonic() + 30
        while not taken and time.monotonic() < deadline:
            taken.extend(broker.dequeue() or [])
        broker._drop_listener()
        connection.close()

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait()
    with transaction.atomic():
        enqueue_job(7)
    thread.join()

    assert [key for key, _ in taken] == [OrmQ.objects.get().pk]  # type: ignore[misc]


@pytest.mark.django_db(transaction=True)
def test_task_is_given_to_one_worker() -> None:
    enqueue_job(7)
    first, second = NotifyingBroker(), NotifyingBroker()

    assert len(first.dequeue() or []) == 1
    assert second.dequeue() is None
    for broker in (first, second):
        broker._drop_listener()


@pytest.mark.django_db(transaction=True)
def test_lost_listener_is_opened_again() -> None:
    broker = NotifyingBroker()
    broker.dequeue()
    broker._drop_listener()

    enqueue_job(7)

    assert len(broker.dequeue() or []) == 1
    broker._drop_listener()


@pytest.mark.django_db(transaction=True)
def test_database_that_cuts_the_queue_off_is_outlasted() -> None:
    broker = NotifyingBroker()
    broker.dequeue()
    listener = broker._listener
    assert listener is not None

    cut_off(listener.info.backend_pid)
    assert broker.dequeue() is None

    enqueue_job(7)
    assert len(broker.dequeue() or []) == 1
    broker._drop_listener()


@pytest.mark.django_db(transaction=True)
def test_task_that_cannot_be_read_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    broker = NotifyingBroker()
    OrmQ.objects.create(key="gpucloud", payload="signed by another key", lock=now())
    ((delivery, _),) = broker.dequeue() or []
    assert [task.delivery for task in Signs(tmp_path).tasks()] == [delivery]

    broker.fail(delivery)

    assert Signs(tmp_path).tasks() == []
    assert not OrmQ.objects.exists()
    broker._drop_listener()


@pytest.mark.django_db
def test_schedules_are_those_of_the_code_and_no_others() -> None:
    Schedule.objects.create(func="os.system", name="mischief")
    Schedule.objects.create(func="instances.tasks.prune", minutes=60)
    Schedule.objects.filter(func="instances.tasks.mail_reports").update(minutes=1)

    # After a migration; then when workers start.
    begin_schedules()
    assert Schedule.objects.filter(func="os.system").exists()
    ensure_schedules()
    ensure_schedules()

    assert sorted(Schedule.objects.values_list("func", "minutes")) == SCHEDULED


@pytest.mark.django_db(transaction=True)
def test_workers_that_start_at_once_make_each_schedule_once() -> None:
    def start() -> None:
        try:
            ensure_schedules()
        finally:
            connection.close()

    Schedule.objects.all().delete()
    other = threading.Thread(target=start)
    with transaction.atomic():
        ensure_schedules()
        other.start()
        while other.is_alive() and not somebody_waits():
            time.sleep(0.01)
    other.join()

    assert sorted(Schedule.objects.values_list("func", "minutes")) == SCHEDULED


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone() != (0,)
