"""A PostgreSQL server of a test's own, which may end as in a crash."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.db import connection

from deploy.local import postgres
from deploy.local.databases import database_name, postgres_program, run_sql
from deploy.local.layout import Layout
from deploy.local.processes import end_session
from deploy.local.services import ServiceRegistry

_END_S = 60.0


@dataclass(frozen=True, slots=True)
class OwnPostgres:
    """A server on the loopback address. url: of its database, for workers too."""

    layout: Layout
    url: str

    def crash(self) -> None:
        """End it in `immediate` mode: sessions are cut off and nothing is written out."""
        process = ServiceRegistry(self.layout.services).running(postgres.NAME)
        assert process is not None, "it does not run"
        connection.close()
        assert end_session(process, _END_S, signal.SIGQUIT)

    def start(self) -> None:
        """Return once it has recovered and answers, at its old address."""
        assert postgres.ensure_running(self.layout).url() == self.url


@contextmanager
def own_postgres(folder: Path) -> Iterator[OwnPostgres]:
    """Have this process's rows, as they are now, on a server of their own for a while."""
    layout = Layout(folder)
    layout.logs.mkdir(parents=True)
    shared = dict(connection.settings_dict)
    try:
        server = OwnPostgres(layout, postgres.ensure_running(layout).url())
        run_sql(server.url, dump(shared))
        connection.close()
        connection.settings_dict.update(settings_of(server.url))
        yield server
    finally:
        connection.close()
        connection.settings_dict.update(shared)
        postgres.stop(layout)
        postgres.remove_files(layout)


def dump(database: dict[str, object]) -> str:
    """Return all of a database as SQL; its rows are its migrations' and schedules'."""
    where = {
        "PGHOST": database["HOST"],
        "PGPORT": database["PORT"],
        "PGUSER": database["USER"],
        "PGPASSWORD": database["PASSWORD"],
    }
    dump = subprocess.run(  # noqa: S603 -- the server's own program
        [
            *(postgres_program("pg_dump"), "--no-owner", "--no-privileges"),
            *("--no-comments", str(database["NAME"])),
        ],
        env=os.environ | {name: str(value) for name, value in where.items() if value},
        capture_output=True,
        text=True,
        check=True,
    )
    return dump.stdout


def settings_of(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    return {
        "HOST": parts.hostname or "",
        "PORT": str(parts.port),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "NAME": database_name(url),
    }
