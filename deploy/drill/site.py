"""An installation below one folder: its database, proxy, machines, and what was measured."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from deploy.drill.load import Caller, Told
from deploy.drill.machines import UNITS, Machine
from deploy.drill.pooler import Pooler
from deploy.drill.proxy import Proxy
from deploy.local import postgres
from deploy.local.commands import Command, run_logged
from deploy.local.databases import run_sql, with_database
from deploy.local.environment import new_secrets
from deploy.local.layout import Layout, checkout
from deploy.local.ports import LOOPBACK, random_free

SQL = checkout().root / "deploy" / "postgresql"
DATABASE = "production"
OWNER, APP = "gpucloud_owner", "gpucloud_app"
HOSTS = "4"


@dataclass
class Site:
    """folder: empty at first. rows: of the table in the end."""

    folder: Path
    secrets: dict[str, object] = field(default_factory=new_secrets)
    password: str = field(default_factory=lambda: secrets.token_hex(24))
    webs: dict[str, Machine] = field(default_factory=dict)
    workers: dict[str, Machine] = field(default_factory=dict)
    watch: dict[str, Machine] = field(default_factory=dict)
    rows: list[tuple[str, str]] = field(default_factory=list)
    pooler: Pooler | None = None
    server: postgres.Cluster = field(init=False)
    proxy: Proxy = field(init=False)

    def __post_init__(self) -> None:
        """Choose the ports; nothing runs yet."""
        ports = {name: random_free() for name in ("web1", "web2")}
        self.proxy = Proxy(self.folder, random_free(), ports)

    def begin(self) -> None:
        """Have the database server with its roles."""
        self.layout.logs.mkdir(parents=True)
        self.server = postgres.ensure_running(self.layout)
        self._make_roles()

    @property
    def layout(self) -> Layout:
        return Layout(self.folder)

    def _make_roles(self) -> None:
        admin = self.server.admin_url()
        run_sql(admin, (SQL / "roles.sql").read_text(), database=DATABASE)
        for role in (OWNER, APP):
            run_sql(
                with_database(admin, DATABASE),
                "ALTER ROLE :\"role\" PASSWORD :'password';",
                role=role,
                password=self.password,
            )

    def put_pooler_between(self) -> None:
        """Have the application come to the database by PgBouncer from now on."""
        secret = run_sql(
            self.server.admin_url(),
            "SELECT rolpassword FROM pg_authid WHERE rolname = :'role';",
            role=APP,
        )
        self.pooler = Pooler(
            Path(self.server.folder), self.server.account, DATABASE, self.server.port
        )
        self.pooler.start(APP, secret)

    def end(self) -> None:
        """End all that runs; nothing if nothing does."""
        for machine in self.machines():
            machine.kill()
        self.proxy.stop()
        if self.pooler is not None:
            self.pooler.stop()
        postgres.stop(self.layout)

    def machines(self) -> list[Machine]:
        return [*self.webs.values(), *self.workers.values(), *self.watch.values()]

    def client(self, told: Told) -> Caller:
        """Return a customer's client, which comes by the proxy."""
        return Caller(self.proxy.url, self.token, self.proxy.certificate, told)

    @property
    def token(self) -> str:
        tokens = self.secrets["tokens"]
        assert isinstance(tokens, dict)  # noqa: S101 -- new_secrets()
        return str(tokens["customer"])

    def url(self, role: str, port: int | None = None) -> str:
        """Return the database's URL for a role, the application's by the pooler.

        port: of another server.
        """
        if port is None:
            is_pooled = self.pooler is not None and role == APP
            port = self.pooler.port if is_pooled else self.server.port
        return f"postgresql://{role}:{self.password}@{LOOPBACK}:{port}/{DATABASE}"

    def env(self, role: str = APP, **changes: str) -> dict[str, str]:
        """Return the variables of gpucloud.env, with this installation's values."""
        return {
            **environment_file(),
            "DATABASE_URL": self.url(role),
            "GPUCLOUD_SECRET_KEY": str(self.secrets["secret_key"]),
            "GPUCLOUD_ALLOWED_HOSTS": LOOPBACK,
            # Simulated hosts are a lab's; all else is as in production.
            "GPUCLOUD_LAB": "true",
            "GPUCLOUD_SIMULATED_HOSTS": str(self.folder / "hosts"),
            "GPUCLOUD_IMAGE_FOLDER": str(self.folder / "images"),
            "GPUCLOUD_API_RATE_LIMIT": "0",
            "GPUCLOUD_WORKERS": "3",
            # The guests of the drill know no ACPI.
            "GPUCLOUD_SHUTDOWN_GRACE_S": "5",
            "WEB_PROCESSES": "2",
            **changes,
        }

    def machine(self, name: str, unit: str, **changes: str) -> Machine:
        return Machine(name, unit, self.env(**changes), self.folder)

    def run(
        self,
        code: Path,
        *arguments: str,
        role: str = APP,
        stdin: str = "",
        **changes: str,
    ) -> None:
        """Run python in a release's environment; its log is named for the first words."""
        words = [word.strip("-").replace("/", "-") for word in arguments[:2]]
        run_logged(
            Command(
                [code / ".venv" / "bin" / "python", *arguments],
                cwd=code,
                log=self.folder / f"{'-'.join(words)}.log",
                env={**os.environ, **self.env(role, **changes)},
                stdin=stdin,
            )
        )

    def ask(self, sql: str) -> str:
        return run_sql(self.url(OWNER), sql)

    def note(self, what: str, figures: str) -> None:
        self.rows.append((what, figures))


def environment_file() -> dict[str, str]:
    """Return the variables of deploy/systemd/gpucloud.env, as systemd reads them."""
    lines = (UNITS / "gpucloud.env").read_text(encoding="utf-8").splitlines()
    told = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in told}
