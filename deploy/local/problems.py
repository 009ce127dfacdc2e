"""What can go wrong with the local stack, in words for the person at the terminal."""

from __future__ import annotations

import errno
from pathlib import Path

# Begins the line that stands before each command's output in a log.
COMMAND_MARK = "=== "
DISK_FULL = "free some disk space, then run the same command again"


class LocalStackError(Exception):
    """Something a person can act on: what happened, what to do, which log tells."""

    def __init__(self, what: str, remedy: str, log: Path | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.log = log


class CommandFailed(LocalStackError):
    """A command that a step needs ended with a status other than 0."""


class NotAnswering(LocalStackError):
    """A service that was started does not answer."""


class ProgramMissing(LocalStackError):
    """A program that a package should have brought is not there."""


class Busy(LocalStackError):
    """Another run holds what this one needs."""


class MovedCheckout(LocalStackError):
    """`.local/` was made for a checkout at another path."""


def tail(log: Path | None, lines: int = 20) -> str:
    """Return the last lines of a log, those of its last command only."""
    if log is None or not log.exists():
        return ""
    text = log.read_text(encoding="utf-8", errors="replace")
    start = text.rfind(COMMAND_MARK)
    return "\n".join(text[max(start, 0) :].splitlines()[-lines:])


def from_os_error(error: OSError) -> LocalStackError:
    """Put an error of the operating system into words."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return LocalStackError(f"the disk is full: {error}", DISK_FULL)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return LocalStackError(
            f"not allowed: {error}",
            "use the account that made .local/ and .venv/, or remove both with it",
        )
    return LocalStackError(str(error), "look at the error above")
