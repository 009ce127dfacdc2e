"""The pooler of the drill: deploy/pgbouncer/pgbouncer.ini with addresses of this machine."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.accounts import switch_to
from deploy.local.layout import checkout
from deploy.local.ports import LOOPBACK, random_free
from deploy.local.private_file import write_private
from deploy.local.problems import ProgramMissing

CONFIGURATION = checkout().root / "deploy" / "pgbouncer" / "pgbouncer.ini"
PROGRAM = Path("/usr/sbin/pgbouncer")


@dataclass
class Pooler:
    """Between the application and the server on `server_port`, as the account."""

    folder: Path
    account: str | None
    database: str
    server_port: int
    port: int = field(default_factory=random_free)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self, role: str, secret: str) -> None:
        """Have it take clients of the role. secret: pg_authid.rolpassword."""
        if not PROGRAM.exists():
            raise ProgramMissing(f"{PROGRAM} is not there", "apt install pgbouncer")
        users, configuration = self.folder / "userlist.txt", self.folder / "pool.ini"
        write_private(users, f'"{role}" "{secret}"\n')
        write_private(configuration, self.configuration(users))
        owner = switch_to(self.account)
        for path in (users, configuration):
            if owner:
                os.chown(path, owner["user"], owner["group"])
        with (self.folder / "pool.log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, configuration],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **owner,
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def configuration(self, users: Path) -> str:
        """Return the file with this machine's addresses. users: the file of secrets."""
        text = CONFIGURATION.read_text(encoding="utf-8")
        for pattern, value in (
            (r"(?m)^gpucloud = .*$", self._server()),
            (r"(?m)^listen_port = .*$", f"listen_port = {self.port}"),
            (r"(?m)^auth_file = .*$", f"auth_file = {users}\nunix_socket_dir ="),
        ):
            text, count = re.subn(pattern, value, text)
            assert count, f"{pattern} is not in {CONFIGURATION}"  # noqa: S101
        return text

    def _server(self) -> str:
        server = f"host={LOOPBACK} port={self.server_port} dbname={self.database}"
        return f"{self.database} = {server}"
