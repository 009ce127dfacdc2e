"""The task queue in one process: the same rows, schedules and parts of django-q2."""

import queue
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing import Value
from typing import Any

from django.utils import timezone
from django_q.models import OrmQ
from django_q.monitor import monitor
from django_q.scheduler import scheduler
from django_q.signing import SignedPackage
from django_q.worker import worker

from instances.broker import NotifyingBroker
from instances.cluster import Leftovers
from instances.tasks import put_back


class OneProcessCluster:
    """at_work: gives what a worker is in while it has one task; it swallows its death."""

    def __init__(self, at_work: Callable[[], AbstractContextManager[None]]) -> None:
        self._at_work = at_work
        self._broker = NotifyingBroker()

    def run_due(self) -> None:
        """Enqueue what is due by its schedule, and work until nothing is to be had."""
        scheduler(self._broker)
        while OrmQ.objects.filter(lock__lt=timezone.now()).exists():
            for delivery, payload in self._broker.dequeue() or []:
                self._work(delivery, SignedPackage.loads(payload))

    def _work(self, delivery: int, task: dict[str, Any]) -> None:
        results: queue.Queue[Any] = queue.Queue()
        tasks: queue.Queue[Any] = queue.Queue()
        tasks.put({**task, "ack_id": delivery, "cluster": "gpucloud"})
        tasks.put("STOP")
        with self._at_work():
            worker(tasks, results, Value("f", -1), timeout=None)  # type: ignore[arg-type]
        if results.empty():
            # As the supervisor does with what a dead worker had begun.
            put_back(Leftovers(lost=frozenset({delivery})))
            return
        results.put("STOP")
        monitor(results, self._broker)  # type: ignore[arg-type]

    def close(self) -> None:
        self._broker._drop_listener()
