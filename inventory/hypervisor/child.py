"""The driver as a child process: JSON lines in and out, each with a deadline."""

import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from inventory.exceptions import HostUnreachable

OPEN_TIMEOUT_S = 15.0
# How often a child that tells of events shows that it lives.
BEAT_S = 10.0
# One answer's: some thousand domains' documents. A host is not trusted to send less.
MAX_ANSWER_BYTES = 64 << 20
# The child's own, which libvirt fills with what the host sends before we see any of it.
MAX_MEMORY_BYTES = 1 << 30


class NotInTime(HostUnreachable):
    """No answer within the deadline, from a child that still has its connection."""


_ROOT = Path(__file__).resolve().parents[2]


class DriverChild:
    """One `python -m inventory.hypervisor.libvirt_driver`, which opens one URI.

    Making it raises HostUnreachable if no process can be started.
    """

    def __init__(self, uri: str, *options: str) -> None:
        self._uri = uri
        self._buffer = bytearray()
        command = ["-m", "inventory.hypervisor.libvirt_driver", uri, *options]
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own module, no shell
                [sys.executable, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=_ROOT,
                # A session of its own: a Ctrl-C at the web server must not cut it off.
                start_new_session=True,
            )
        except OSError as error:
            # No memory or no process number left here: nothing is known of the host.
            raise HostUnreachable(
                f"{uri}: no driver can be started: {error}"
            ) from error

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def write_line(self, line: bytes, what: str) -> None:
        """Send one line. Raises HostUnreachable, which names `what`."""
        assert self._process.stdin  # noqa: S101
        try:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise HostUnreachable(f"{self._uri}: connection lost at {what}") from error

    def read_line(self, timeout_s: float, what: str) -> dict[str, Any]:
        """Return the next line. Raises NotInTime, or HostUnreachable."""
        assert self._process.stdout  # noqa: S101
        output = self._process.stdout
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            end = self._buffer.find(b"\n")
            while end < 0:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise NotInTime(f"{self._uri}: no answer to {what} in time")
                data = os.read(output.fileno(), 1 << 16)
                if not data:
                    raise HostUnreachable(f"{self._uri}: connection lost at {what}")
                known = len(self._buffer)
                self._buffer += data
                if len(self._buffer) > MAX_ANSWER_BYTES:
                    raise HostUnreachable(
                        f"{self._uri}: more than {MAX_ANSWER_BYTES} bytes at {what}"
                    )
                end = self._buffer.find(b"\n", known)
        line = self._buffer[:end]
        del self._buffer[: end + 1]
        return dict(json.loads(line))

    def kill(self) -> None:
        """End the process; whoever reads from it in another thread is told at once."""
        self._process.kill()

    def close(self) -> None:
        """End the process and leave nothing of it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
