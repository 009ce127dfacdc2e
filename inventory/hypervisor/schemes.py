"""Drivers for URIs of other schemes than libvirt's, which a lab adds at its start; pure.

Such a driver works within the caller's process, and tells of no events.
"""

from collections.abc import Callable
from typing import Protocol

from inventory.hypervisor.port import Hypervisor


class Driver(Hypervisor, Protocol):
    """A connection; the first call opens it, and the first after close() again."""

    def close(self) -> None:
        """Let go of what the connection holds on this machine."""


Opener = Callable[[str], Driver]

_openers: dict[str, Opener] = {}


def add_scheme(scheme: str, opener: Opener) -> None:
    """Have `opener` make the connections to every URI of a scheme."""
    _openers[scheme] = opener


def added_opener(uri: str) -> Opener | None:
    """Return who makes connections to `uri`; None if libvirt does."""
    return _openers.get(uri.partition("://")[0])
