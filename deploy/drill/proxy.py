"""The proxy of the drill: deploy/haproxy/haproxy.cfg with addresses of this machine."""

from __future__ import annotations

import csv
import re
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.layout import checkout
from deploy.local.ports import LOOPBACK
from deploy.local.problems import LocalStackError, ProgramMissing

CONFIGURATION = checkout().root / "deploy" / "haproxy" / "haproxy.cfg"
PROGRAM = Path("/usr/sbin/haproxy")
WELL_S = 60.0
# Fields of `show stat` (HAProxy 2.6, management guide 9.1), and what they count.
ANSWERS = {
    "hrsp_2xx": "of 2xx",
    "hrsp_4xx": "of 4xx",
    "hrsp_5xx": "of 5xx",
    "wretr": "tried again",
    "wredis": "sent to another machine",
}


@dataclass
class Proxy:
    """ports: of web1, web2, ... port: of TLS."""

    folder: Path
    port: int
    ports: dict[str, int]
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"https://{LOOPBACK}:{self.port}"

    @property
    def certificate(self) -> Path:
        return self.folder / "proxy.crt"

    @property
    def _socket(self) -> Path:
        return self.folder / "proxy.sock"

    def start(self) -> None:
        """Have it answer; a certificate for the loopback address is made first."""
        if not PROGRAM.exists():
            raise ProgramMissing(f"{PROGRAM} is not there", "apt install haproxy")
        self._make_certificate()
        path = self.folder / "haproxy.cfg"
        path.write_text(self.configuration(), encoding="utf-8")
        with (self.folder / "proxy.log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "-db", "-f", path],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def drain(self, name: str) -> None:
        """Send nothing new to a web machine, and wait until what it has is answered."""
        self._ask(f"set server web/{name} state drain")
        self._wait(name, lambda row: row["scur"] == "0", "has open requests")

    def put_back(self, name: str) -> None:
        """Wait until a web machine is well, then send it requests again."""
        self._ask(f"set server web/{name} state ready")
        self.wait_until_well(name)

    def wait_until_well(self, name: str) -> None:
        self._wait(
            name,
            lambda row: row["status"] == "UP" and row["check_status"] == "L7OK",
            "is not well",
        )

    def answered(self) -> dict[str, int]:
        """Return how many answers of each kind the web machines gave."""
        rows = [row for row in self._rows() if row["svname"] == "BACKEND"]
        return {
            words: sum(int(row[name] or 0) for row in rows)
            for name, words in ANSWERS.items()
        }

    def _wait(
        self, name: str, holds: Callable[[dict[str, str]], bool], what: str
    ) -> None:
        deadline = time.monotonic() + WELL_S
        while time.monotonic() < deadline:
            (row,) = (row for row in self._rows() if row["svname"] == name)
            if holds(row):
                return
            time.sleep(0.2)
        raise LocalStackError(
            f"{name} {what} after {WELL_S:.0f} s: {row['status']} {row['check_status']}",
            "look at its log",
            self.folder / f"{name}.log",
        )

    def _rows(self) -> list[dict[str, str]]:
        text = self._ask("show stat").removeprefix("# ")
        rows = csv.DictReader(text.splitlines())
        return [row for row in rows if row["pxname"] == "web"]

    def _ask(self, command: str) -> str:
        deadline = time.monotonic() + WELL_S
        with socket.socket(socket.AF_UNIX) as asked:
            while True:
                try:
                    asked.connect(str(self._socket))
                    break
                except (FileNotFoundError, ConnectionRefusedError):
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)
            asked.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: asked.recv(65536), b"")).decode()

    def configuration(self) -> str:
        """Return the file with this machine's addresses."""
        text = CONFIGURATION.read_text(encoding="utf-8")
        for pattern, value in (
            (r"/run/haproxy/admin\.sock", str(self._socket)),
            (r"/etc/haproxy/gpucloud\.pem", str(self.folder / "proxy.pem")),
            (r"gpucloud\.example\.net", LOOPBACK),
            (r"bind :443", f"bind {LOOPBACK}:{self.port}"),
            # Of this machine the drill takes no port of the first 1024, and no log.
            (r"(?m)^ *(bind :80|log .*|user .*|group .*|option httplog)\n", ""),
        ):
            text, count = re.subn(pattern, value, text)
            assert count, f"{pattern} is not in {CONFIGURATION}"  # noqa: S101
        for name, port in self.ports.items():
            text, count = re.subn(
                rf"(server {name}) \S+", rf"\1 {LOOPBACK}:{port}", text
            )
            assert count, f"{name} is not in {CONFIGURATION}"  # noqa: S101
        return text

    def _make_certificate(self) -> None:
        key = self.folder / "proxy.key"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
                *("-days", "2", "-subj", "/CN=gpucloud drill"),
                *("-addext", f"subjectAltName=IP:{LOOPBACK}"),
                *("-keyout", key, "-out", self.certificate),
            ],
            check=True,
            capture_output=True,
        )
        pem = self.folder / "proxy.pem"
        pem.touch(mode=0o600)
        pem.write_text(self.certificate.read_text() + key.read_text())
