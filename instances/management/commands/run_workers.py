"""manage.py run_workers: have a django-q2 cluster at work until told to end."""

import signal
import sys
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from instances.cluster import Leftovers, Rules, Supervisor
from instances.tasks import ensure_schedules, put_back


class Command(BaseCommand):
    help = (
        "Run a cluster of GPUCLOUD_WORKERS workers, and restart it when it is wedged. "
        "SIGTERM ends it: its jobs are finished or left to other workers. Any number "
        "may run, on any number of machines; each watches its own cluster."
    )

    def handle(self, *_: Any, **__: Any) -> None:
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        rules = Rules(
            workers=settings.WORKERS,
            patience_s=settings.CLUSTER_PATIENCE_S,
            task_limit_s=settings.JOB_TIMEOUT_S,
            stop_grace_s=settings.STOP_GRACE_S,
        )
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"]
        Supervisor(command, rules, _Settling()).run(stopped)


class _Settling:
    """What a cluster begins with, and what it owes others; called until the database answers.

    At the beginning alone: at the end of an older release's workers the schedules are those
    of the newer ones, which are at work already.
    """

    def __init__(self) -> None:
        self._has_begun = False

    def __call__(self, left: Leftovers) -> None:
        if not self._has_begun:
            ensure_schedules()
            self._has_begun = True
        put_back(left)
