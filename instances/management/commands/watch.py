"""manage.py watch: enqueue what is due of hosts and cards, every second, until told to end."""

import logging
import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection

from instances.tasks import look_after_fleet

logger = logging.getLogger(__name__)

PAUSE_S = 1.0


class Command(BaseCommand):
    help = (
        "Have every host compared with its rows once a cycle "
        "(GPUCLOUD_RECONCILE_CYCLE_S), and waiting cards checked. Workers do the work. "
        "Several may run: each host is taken by one of them."
    )

    def handle(self, *_: Any, **__: Any) -> None:
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        while not stopped.is_set():
            try:
                look_after_fleet()
            except DatabaseError:
                # The database comes back without us; the task queue's schedule, once a
                # minute, stands in for a watch that is not there.
                logger.exception("the database does not answer")
                connection.close()
            stopped.wait(PAUSE_S)
