"""Runs one command to its end: output to a log, a sign of life, a clear failure."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deploy.local.accounts import switch_to
from deploy.local.problems import (
    COMMAND_MARK,
    DISK_FULL,
    CommandFailed,
    ProgramMissing,
    tail,
)

HEARTBEAT_S = 5.0
DISK_FULL_SIGNS = ("No space left on device", "Check free disk space")
ROTATE_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True)
class Command:
    """A command, and where and how it runs."""

    arguments: Sequence[str | Path]
    cwd: Path
    log: Path
    env: Mapping[str, str] | None = None
    stdin: str = ""
    remedy: str = "look at the lines above, then run the same command again"
    # An account other than that of the caller; only root may ask for one.
    user: str | None = None


def rotate(log: Path) -> None:
    """Make the log's folder, and put a log of more than 10 MB aside as NAME.1."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > ROTATE_BYTES:
        log.replace(log.with_name(log.name + ".1"))


def run_logged(command: Command) -> None:
    """Run a command to its end, with its output appended to its log.

    Raises: CommandFailed with the log's last lines to be had by `tail`.
    """
    rotate(command.log)
    start = time.monotonic()
    with command.log.open("ab") as log:
        log.write(f"{COMMAND_MARK}{_title(command)}\n".encode())
        log.flush()
        process = _start(command, log)
        try:
            _feed(process, command.stdin)
            _wait_with_heartbeat(process, command, start)
        except BaseException:
            process.terminate()
            process.wait(timeout=10)
            raise
    if process.returncode != 0:
        said = tail(command.log, 40)
        full = any(sign in said for sign in DISK_FULL_SIGNS)
        raise CommandFailed(
            f"{_title(command)} ended with status {process.returncode}",
            DISK_FULL if full else command.remedy,
            command.log,
        )


def _title(command: Command) -> str:
    program, *rest = (str(part) for part in command.arguments)
    words = [word for word in rest if not word.startswith("-")]
    return " ".join([Path(program).name, *words[:2]])


def _start(command: Command, log: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [str(part) for part in command.arguments],
            cwd=command.cwd,
            env=None if command.env is None else dict(command.env),
            stdin=subprocess.PIPE if command.stdin else subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            **switch_to(command.user),
        )
    except FileNotFoundError as error:
        raise ProgramMissing(
            f"{command.arguments[0]} is not there", "run `make packages`"
        ) from error


def _feed(process: subprocess.Popen[bytes], text: str) -> None:
    if process.stdin is None:
        return
    try:
        process.stdin.write(text.encode())
        process.stdin.close()
    except BrokenPipeError:
        # It ended before it read: its exit status and its log tell why.
        return


def _wait_with_heartbeat(
    process: subprocess.Popen[bytes], command: Command, start: float
) -> None:
    while True:
        try:
            process.wait(timeout=HEARTBEAT_S)
            return
        except subprocess.TimeoutExpired:
            elapsed = time.monotonic() - start
            last = tail(command.log, 1)[:100]
            print(f"    {elapsed:4.0f} s  {last}", file=sys.stderr, flush=True)
