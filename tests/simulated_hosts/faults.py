"""What a simulated host does wrong, and when."""

import os
import signal
import time
from dataclasses import dataclass, replace
from typing import Literal

from inventory.exceptions import HostUnreachable, HypervisorError


@dataclass(frozen=True, slots=True)
class Fault:
    """Befalls calls of one verb of the port; "*" is every verb.

    what: the host refuses; is unreachable at once; is silent until the call's deadline, or
    for lasts_s; or the calling process gets SIGKILL. has_effect: the host does first what
    it was told.
    passes: so many calls go well before. times: so many calls are hit; None: all.
    """

    verb: str
    what: Literal["refuse", "unreachable", "silent", "kill"]
    has_effect: bool = False
    passes: int = 0
    times: int | None = 1
    lasts_s: float | None = None

    def strike(self, uri: str, verb: str, deadline_s: float) -> None:
        """Do it to whoever calls `verb`. Raises HypervisorError or HostUnreachable."""
        if self.what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == "refuse":
            raise HypervisorError(f"{uri} refuses {verb}: a fault", 1)
        if self.what == "silent":
            time.sleep(deadline_s if self.lasts_s is None else self.lasts_s)
            raise HostUnreachable(f"{uri}: no answer to {verb} in time")
        raise HostUnreachable(f"{uri}: connection lost at {verb}")

    def counted(self) -> "Fault | None":
        """Return what is left of it after one more call; None if nothing is."""
        passes = max(0, self.passes - 1)
        times = self.times
        if self.passes == 0 and times is not None:
            times -= 1
        if times == 0:
            return None
        return replace(self, passes=passes, times=times)
