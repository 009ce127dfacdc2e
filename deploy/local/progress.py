"""Says what is being done and how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.local.problems import LocalStackError, from_os_error


class Progress:
    """Prints one line when a step begins and one when it is done."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.current = ""

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Time a step; what is put in the list is said at its end.

        Raises: LocalStackError, also in place of an OSError.
        """
        self.current = name
        notes: list[str] = []
        start = time.monotonic()
        print(f"-> {name}", flush=True)
        try:
            yield notes
        except OSError as error:
            raise from_os_error(error) from error
        note = "; ".join(notes) or "done"
        print(f"   {note} ({time.monotonic() - start:.1f} s)", flush=True)

    def elapsed_s(self) -> float:
        """Return the seconds since the run began."""
        return time.monotonic() - self.started


def describe(error: LocalStackError, step: str, last_lines: str) -> str:
    """Return the text for a person: where it stopped, why, what to do."""
    parts = []
    if last_lines:
        parts.append(f"last lines of {error.log}:\n{last_lines}\n")
    where = f"in step '{step}': " if step else ""
    parts.append(f"FAILED {where}{error.what}")
    parts.append(f"  what to do: {error.remedy}")
    return "\n".join(parts)
