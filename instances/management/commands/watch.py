"""manage.py watch: enqueue what is due of hosts and cards, every second, until told to end.

A host on which something happens is due at once: libvirt's events are listened to.
"""

import logging
import signal
import threading
import time
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection

from instances.reconcile import listened_hosts, make_due
from instances.tasks import look_after_fleet
from inventory.event_watch import EventWatch

logger = logging.getLogger(__name__)

PAUSE_S = 1.0
BURST_S = 0.2
# How soon the events of a host that was just enrolled are listened to.
HOSTS_ASKED_EVERY_S = 10.0


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
        events = EventWatch()
        try:
            self._watch(stopped, events)
        finally:
            events.stop()

    def _watch(self, stopped: threading.Event, events: EventWatch) -> None:
        asked_at = float("-inf")
        while not stopped.is_set():
            news = events.wait(PAUSE_S)
            try:
                if time.monotonic() > asked_at + HOSTS_ASKED_EVERY_S:
                    events.follow(listened_hosts())
                    asked_at = time.monotonic()
                if news:
                    make_due(news)
                look_after_fleet()
            except DatabaseError:
                # The database comes back without us, and events are but a hint; the task
                # queue's schedule, once a minute, stands in for a watch that is not there.
                logger.exception("the database does not answer")
                connection.close()
                stopped.wait(PAUSE_S)
            if news:
                # Many hosts with news must not make this a loop without a rest.
                stopped.wait(BURST_S)
