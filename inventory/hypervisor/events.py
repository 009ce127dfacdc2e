"""Hear of what happens on a host at once: libvirt's events, through a child process.

They only shorten the time until the next look. An event may be lost at any time, so
nothing is concluded from one but that a look is worth while.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from inventory.hypervisor.child import BEAT_S, OPEN_TIMEOUT_S, DriverChild
from inventory.hypervisor.supervised import error_of

_SILENCE_S = 2.5 * BEAT_S


@dataclass(frozen=True, slots=True)
class HostEvent:
    """subject: a domain's UUID or a PCI device's name (libvirt nodedev "name").

    what: defined, undefined, started, stopped, crashed; created, deleted.
    """

    subject: str
    what: str


class EventSubscription:
    """The events of one host from the first iteration on, until it is lost or closed."""

    def __init__(self, uri: str) -> None:
        self._child = DriverChild(uri, "--events")

    def wait_open(self) -> None:
        """Wait until events are told. Raises HostUnreachable or another HypervisorError."""
        answer = self._child.read_line(OPEN_TIMEOUT_S, "open")
        if "error" in answer:
            raise error_of(answer)

    def events(self) -> Iterator[HostEvent]:
        """Yield each event as it comes. Raises HostUnreachable at the end."""
        while True:
            line = self._child.read_line(_SILENCE_S, "events")
            if line:
                yield HostEvent(line["subject"], line["what"])

    def interrupt(self) -> None:
        """End it for whoever waits for its events in another thread."""
        self._child.kill()

    def close(self) -> None:
        """Leave nothing of it."""
        self._child.close()
