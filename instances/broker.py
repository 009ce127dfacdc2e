"""django-q2's ORM broker, woken by PostgreSQL: jobs start in 3 ms instead of 126.

The ORM broker on our own database makes `enqueue` inside a transaction the outbox: the
task exists if and only if the transaction commits, and NOTIFY is sent at that moment.
"""

import gc
import logging
import signal
import time
from typing import Any

import psycopg
from django.db import Error as DatabaseError
from django.db import connections
from django.dispatch import receiver
from django_q.brokers.orm import ORM  # noqa: TID251 -- a broker class is part of django-q
from django_q.conf import Conf  # noqa: TID251
from django_q.signals import post_execute_in_worker, pre_execute  # noqa: TID251

from instances import cluster_signs
from instances.cluster_signs import Part, Stage

logger = logging.getLogger(__name__)

CHANNEL = "gpucloud_tasks"
# Delayed and redelivered tasks send no notification; this is how late they may be.
_LONGEST_WAIT_S = 1.0
_STOPPING_S = 0.1
# A second each: less than a supervisor's patience with results.
_ACKNOWLEDGE_TRIES = 15


class NotifyingBroker(ORM):
    """Conf.POLL must be 0, or the parent sleeps before we wait."""

    _listener: psycopg.Connection[Any] | None = None

    def ping(self) -> bool:
        """Called by a cluster's guard before it forks the others, and by nobody else.

        SIGTERM to the whole process group would kill the guard with the stop event's lock
        in its hands, and the cluster's first process would wait for ever: it alone obeys.
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # A collection writes to whatever it looks at, and so makes a copy of its memory: 21
        # MiB in each worker. What is frozen stays common to all for good.
        gc.freeze()
        return True

    def set_stat(self, key: str, value: str, timeout: int) -> None:
        """Called in the guard's every round; its figures are for nobody here."""
        cluster_signs.note(Part.GUARD)

    def acknowledge(self, task_id: int) -> None:
        """Called where results are collected, which a database that is away must not end.

        What stays unacknowledged is delivered again, and finds its work done.
        """
        for _ in range(_ACKNOWLEDGE_TRIES):
            try:
                super().acknowledge(task_id)
                break
            except DatabaseError:
                logger.warning("delivery %s cannot be acknowledged yet", task_id)
                connections[Conf.ORM].close()
                time.sleep(1)
        cluster_signs.forget(task_id)

    def enqueue(self, task: str) -> Any:
        key = super().enqueue(task)
        with connections[Conf.ORM].cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
        return key

    def fail(self, task_id: int) -> None:
        """Called for a task that cannot be read, as after a change of the secret key.

        It is nothing to wait for; its job is delivered again by the reaper.
        """
        self.acknowledge(task_id)

    def dequeue(self) -> list[tuple[int, str]] | None:
        """Return what is taken; None after a second without, or without a database.

        An error would cost the pusher its life, and the cluster ten seconds.
        """
        cluster_signs.note(Part.PUSHER)
        if cluster_signs.is_told_to_stop():
            # What is let go of now is for other clusters.
            time.sleep(_STOPPING_S)
            return None
        try:
            return self._take()
        except (DatabaseError, psycopg.Error) as error:
            logger.warning("the task queue cannot be read yet: %s", error)
            self._drop_listener()
            connections[Conf.ORM].close()
            time.sleep(_LONGEST_WAIT_S)
        return None

    def _take(self) -> list[tuple[int, str]] | None:
        # Listen before looking: what is committed in between then wakes us.
        listener = self._listening()
        tasks = super().dequeue()
        if tasks:
            for delivery, _ in tasks:
                cluster_signs.reached(delivery, Stage.TAKEN)
            return list(tasks)
        for _ in listener.notifies(timeout=_LONGEST_WAIT_S, stop_after=1):
            pass
        return None

    def _listening(self) -> psycopg.Connection[Any]:
        # A connection of its own: Django closes and reopens the shared one as it likes.
        if self._listener is None or self._listener.closed:
            alias = connections[Conf.ORM]
            listener = alias.get_new_connection(alias.get_connection_params())
            listener.autocommit = True
            listener.execute(f"LISTEN {CHANNEL}")
            self._listener = listener
        return self._listener

    def _drop_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._listener = None


@receiver(pre_execute)
def _begins(task: dict[str, Any], **_: Any) -> None:
    _reached(task, Stage.BEGUN)


@receiver(post_execute_in_worker)
def _ends(task: dict[str, Any], **_: Any) -> None:
    _reached(task, Stage.DONE)


def _reached(task: dict[str, Any], stage: Stage) -> None:
    delivery = task.get("ack_id")
    if delivery is not None:
        cluster_signs.reached(delivery, stage)
