"""Creates and drops databases on a PostgreSQL server named by a URL."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

from deploy.local.problems import CommandFailed, LocalStackError, ProgramMissing

BINARIES = Path("/usr/lib/postgresql")


def postgres_program(name: str) -> Path:
    """Return a program of the newest PostgreSQL that has it, 15 or later."""
    versions = sorted(
        (int(folder.name) for folder in BINARIES.glob("[0-9]*")), reverse=True
    )
    for version in versions:
        program = BINARIES / str(version) / "bin" / name
        if version >= 15 and program.exists():
            return program
    raise ProgramMissing(
        f"{BINARIES}/*/bin/{name} is not there (15 or later)", "run `make packages`"
    )


def database_name(url: str) -> str:
    """Return the name of the database in a URL."""
    return unquote(urlsplit(url).path.lstrip("/"))


def with_database(url: str, name: str) -> str:
    """Return the URL of another database on the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def run_sql(url: str, sql: str, **variables: str) -> str:
    """Run SQL as the URL's role; `:"name"` and `:'name'` in it are the variables.

    Returns: the rows, one a line, fields apart by tabs.
    Raises: CommandFailed with the server's own words.
    """
    parts = urlsplit(url)
    env = os.environ | {
        "PGPASSWORD": unquote(parts.password or ""),
        "PGCONNECT_TIMEOUT": "5",
    }
    options = ["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1"]
    server = ["-h", parts.hostname or "", "-U", unquote(parts.username or "")]
    if parts.port:
        server += ["-p", str(parts.port)]
    result = subprocess.run(
        [postgres_program("psql"), *options, *server, "-d", database_name(url)],
        input=_settings(variables) + sql,
        env=env,
        text=True,
        capture_output=True,
        check=False,
    )
    if result.returncode != 0:
        raise CommandFailed(
            f"PostgreSQL said: {result.stderr.strip()}",
            "is DATABASE_URL right, and may its role create databases?",
        )
    return result.stdout.strip()


def _settings(variables: dict[str, str]) -> str:
    r"""Return psql's \set lines: on the command line, `ps` would show a password."""
    lines = []
    for name, value in variables.items():
        quoted = value.replace("\\", "\\\\").replace("'", "''")
        lines.append(f"\\set {name} '{quoted}'\n")
    return "".join(lines)


def create_database(url: str, name: str) -> str:
    """Create a database owned by the URL's role unless it exists; return its URL."""
    found = run_sql(
        url, "SELECT 1 FROM pg_database WHERE datname = :'name';", name=name
    )
    if not found:
        run_sql(url, "CREATE DATABASE :\"name\" ENCODING 'UTF8';", name=name)
    return with_database(url, name)


def drop_database(url: str, name: str) -> None:
    """Drop a database, and end the connections to it; nothing if it is not there."""
    if name == database_name(url):
        raise LocalStackError(
            f"{name} is the database of the connection itself", "name another one"
        )
    run_sql(url, 'DROP DATABASE IF EXISTS :"name" WITH (FORCE);', name=name)
