"""Progress lines with times, on stderr, so that stdout stays for answers."""

import sys
import time


class Progress:
    """Print each step with the seconds since the object was made."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._start = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Return the seconds since the object was made."""
        return time.monotonic() - self._start

    def step(self, text: str) -> None:
        """Print one line."""
        sys.stderr.write(f"[{self.elapsed_s:6.1f}s] {self._topic}: {text}\n")
        sys.stderr.flush()
