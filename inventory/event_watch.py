"""Listen to the events of many hosts, a thread and a subscription for each.

It writes nothing: its caller is told which hosts are worth a look. A frozen host holds its
own thread alone, and is tried again ever less often.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Protocol

from inventory.exceptions import HypervisorError
from inventory.hypervisor.events import EventSubscription, HostEvent

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
# Events come in bursts: a host is looked at no more often than this because of them.
GAP_S = 3.0
# What a host is told for that was out of hearing: no subject, and anything may have been.
UNHEARD = ""


class Subscription(Protocol):
    """inventory.hypervisor.events.EventSubscription, or a test's."""

    def wait_open(self) -> None: ...
    def events(self) -> Iterator[HostEvent]: ...
    def interrupt(self) -> None: ...
    def close(self) -> None: ...


Subscribe = Callable[[str], Subscription]


class EventWatch:
    """What happened on the hosts it follows, for one caller of follow(), wait(), stop()."""

    def __init__(
        self,
        subscribe: Subscribe = EventSubscription,
        first_pause_s: float = FIRST_PAUSE_S,
        gap_s: float = GAP_S,
    ) -> None:
        self._subscribe = subscribe
        self._first_pause_s = first_pause_s
        self._gap_s = gap_s
        self._listeners: dict[int, _Listener] = {}
        self._news: dict[int, set[str]] = {}
        self._told_at: dict[int, float] = {}
        self._changed = threading.Condition()

    def follow(self, uris: Mapping[int, str]) -> None:
        """Listen to exactly these hosts. uris: host id -> libvirt URI."""
        for host_id, listener in list(self._listeners.items()):
            if uris.get(host_id) != listener.uri:
                listener.stop()
                del self._listeners[host_id]
        for host_id, uri in uris.items():
            if host_id not in self._listeners:
                listener = _Listener(
                    uri,
                    self._subscribe,
                    partial(self._tell, host_id),
                    self._first_pause_s,
                )
                self._listeners[host_id] = listener
                listener.start()

    def wait(self, timeout_s: float) -> dict[int, set[str]]:
        """Return host id -> subjects of its events, when there are some or time is over.

        A subject is UNHEARD where events may have been missed. What comes within GAP_S of
        the last answer about its host is kept for a later call.
        """
        with self._changed:
            self._changed.wait_for(self._due, timeout_s)
            due = {host_id: self._news.pop(host_id) for host_id in self._due()}
            self._told_at.update(dict.fromkeys(due, time.monotonic()))
            return due

    def stop(self) -> None:
        """End every subscription."""
        self.follow({})

    def _due(self) -> list[int]:
        before = time.monotonic() - self._gap_s
        return [h for h in self._news if self._told_at.get(h, before) <= before]

    def _tell(self, host_id: int, subject: str) -> None:
        with self._changed:
            self._news.setdefault(host_id, set()).add(subject)
            self._changed.notify()


class _Listener:
    """One host's thread: subscribes, listens, and subscribes again when that is lost."""

    def __init__(
        self,
        uri: str,
        subscribe: Subscribe,
        tell: Callable[[str], None],
        first_pause_s: float,
    ) -> None:
        self.uri = uri
        self._subscribe = subscribe
        self._tell = tell
        self._first_pause_s = first_pause_s
        self._current: Subscription | None = None
        self._stopped = threading.Event()
        self._was_heard = False

    def start(self) -> None:
        threading.Thread(
            target=self._run, name=f"events {self.uri}", daemon=True
        ).start()

    def stop(self) -> None:
        self._stopped.set()
        if (current := self._current) is not None:
            current.interrupt()

    def _run(self) -> None:
        pause_s = self._first_pause_s
        while not self._stopped.is_set():
            if self._listen():
                pause_s = self._first_pause_s
            self._stopped.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _listen(self) -> bool:
        """Listen until it ends; say whether anything could be heard at all."""
        is_open = False
        try:
            current = self._current = self._subscribe(self.uri)
        except HypervisorError as error:
            logger.warning("no events: %s", error)
            return False
        try:
            # stop() found no subscription to interrupt if it came before this one.
            if self._stopped.is_set():
                return False
            current.wait_open()
            is_open = True
            if self._was_heard:
                self._tell(UNHEARD)
            self._was_heard = True
            for event in current.events():
                logger.info("%s: %s %s", self.uri, event.subject, event.what)
                self._tell(event.subject)
        except HypervisorError as error:
            if is_open and not self._stopped.is_set():
                logger.warning("events are lost: %s", error)
                self._tell(UNHEARD)
        finally:
            self._current = None
            current.close()
        return is_open
