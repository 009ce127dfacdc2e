"""Speak QMP, QEMU's control protocol, over the socket in a host's run folder."""

import json
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.gpuhost.errors import QmpClosed, QmpRefused


class Qmp:
    """One connection; QEMU serves a single client at a time."""

    def __init__(self, run_dir: Path, timeout_s: float = 60) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_s)
        # by way of the open folder, since a socket's path may have 107 bytes only
        folder = os.open(run_dir, os.O_PATH)
        try:
            self._socket.connect(f"/proc/self/fd/{folder}/qmp.sock")
        except OSError as error:
            self._socket.close()
            raise QmpClosed(str(error)) from error
        finally:
            os.close(folder)
        self._file = self._socket.makefile("rw", encoding="utf-8")
        self._read()  # the greeting
        self("qmp_capabilities")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def __call__(self, command: str, **arguments: Any) -> Any:
        """Run one command.

        Returns its answer.
        Raises QmpRefused when QEMU refuses it, QmpClosed when QEMU is gone.
        """
        request = {"execute": command, "arguments": arguments}
        try:
            self._file.write(json.dumps(request) + "\n")
            self._file.flush()
        except OSError as error:
            raise QmpClosed(str(error)) from error
        while True:
            answer = self._read()
            if "error" in answer:
                raise QmpRefused(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def _read(self) -> dict[str, Any]:
        try:
            line = self._file.readline()
        except OSError as error:
            raise QmpClosed(str(error)) from error
        if not line:
            raise QmpClosed("QEMU closed the connection")
        return json.loads(line)
