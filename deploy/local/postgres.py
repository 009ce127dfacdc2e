"""The private PostgreSQL cluster of one checkout: made, started, stopped."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.local import ports
from deploy.local.accounts import can_write, switch_to, unprivileged_account
from deploy.local.commands import Command, run_logged
from deploy.local.databases import create_database, postgres_program, run_sql
from deploy.local.layout import Layout
from deploy.local.private_file import (
    read_json_object,
    write_private,
    write_private_json,
)
from deploy.local.problems import CommandFailed, NotAnswering
from deploy.local.services import Service, ServiceRegistry

NAME = "postgres"
ROLE = "gpucloud"
DATABASE = "gpucloud"
MAX_CONNECTIONS = 200
START_TRIES = 3
ANSWER_S = 60.0
# sun_path holds 107 bytes (unix(7)), the file's name ".s.PGSQL.NNNNN" included.
LONGEST_SOCKET_FOLDER = 107 - len("/.s.PGSQL.65535.lock")


@dataclass(frozen=True)
class Cluster:
    """The facts of the cluster that outlive a run."""

    folder: str
    account: str | None
    port: int
    admin_password: str
    password: str
    ready: bool = False

    @property
    def data(self) -> Path:
        return Path(self.folder) / "data"

    def url(self, database: str = DATABASE) -> str:
        """Return the URL of a database for the application's role."""
        return self._url(ROLE, self.password, database)

    def admin_url(self) -> str:
        """Return the URL for the superuser; the application never gets it."""
        return self._url("postgres", self.admin_password, "postgres")

    def _url(self, role: str, password: str, database: str) -> str:
        return f"postgres://{role}:{password}@{ports.LOOPBACK}:{self.port}/{database}"


def recorded(layout: Layout) -> Cluster | None:
    """Return the cluster of this checkout, running or not; None if there is none."""
    facts: dict[str, Any] = read_json_object(layout.cluster)
    return Cluster(**facts) if facts else None


def is_running(layout: Layout) -> bool:
    """Say whether this checkout's server process lives."""
    return ServiceRegistry(layout.services).running(NAME) is not None


def ensure_running(layout: Layout, *, fsync: bool = True) -> Cluster:
    """Have the cluster made and answering; quick when it runs already.

    fsync: without, what was committed outlives the end of the server, but not that of the
    machine; a commit takes a tenth of the time. A server that runs already stays as it is.
    Raises: NotAnswering with the server's log.
    """
    cluster = recorded(layout)
    if cluster is None or not cluster.ready or not _has_data(cluster):
        cluster = _make(layout, cluster)
    if not is_running(layout):
        cluster = _start(layout, cluster, fsync=fsync)
    create_database(_ensure_role(cluster), DATABASE)
    return cluster


def stop(layout: Layout) -> bool:
    """End the server, connections or not; say whether it ended in time by itself."""
    return ServiceRegistry(layout.services).stop(NAME)


def remove_files(layout: Layout) -> None:
    """Delete the cluster's files, wherever they are; it must not run."""
    cluster = recorded(layout)
    if cluster is not None:
        shutil.rmtree(cluster.folder, ignore_errors=True)
    layout.cluster.unlink(missing_ok=True)


def _has_data(cluster: Cluster) -> bool:
    return (cluster.data / "PG_VERSION").exists()


def _make(layout: Layout, unfinished: Cluster | None) -> Cluster:
    if unfinished is not None:
        shutil.rmtree(unfinished.folder, ignore_errors=True)
    account = unprivileged_account()
    cluster = Cluster(
        folder=str(_folder(layout, account)),
        account=account,
        port=ports.random_free(),
        admin_password=secrets.token_hex(24),
        password=secrets.token_hex(24),
    )
    write_private_json(layout.cluster, asdict(cluster))
    _initdb(layout, cluster)
    cluster = Cluster(**{**asdict(cluster), "ready": True})
    write_private_json(layout.cluster, asdict(cluster))
    return cluster


def _folder(layout: Layout, account: str | None) -> Path:
    """Return a new folder that the account can write and whose path is short enough."""
    folder = layout.local / "pg"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    _give(folder, account)
    if len(str(folder)) <= LONGEST_SOCKET_FOLDER and can_write(account, folder):
        return folder
    folder.rmdir()
    elsewhere = Path(tempfile.mkdtemp(prefix="gpucloud-pg-", dir="/var/tmp"))
    _give(elsewhere, account)
    return elsewhere


def _give(path: Path, account: str | None) -> None:
    if account is not None:
        owner = switch_to(account)
        os.chown(path, owner["user"], owner["group"])


def _initdb(layout: Layout, cluster: Cluster) -> None:
    password_file = Path(cluster.folder) / "initial-password"
    write_private(password_file, cluster.admin_password + "\n")
    _give(password_file, cluster.account)
    try:
        run_logged(
            Command(
                [
                    postgres_program("initdb"),
                    "--username=postgres",
                    f"--pwfile={password_file}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C.UTF-8",
                    "--data-checksums",
                    f"--pgdata={cluster.data}",
                ],
                cwd=Path("/"),
                log=layout.log("initdb"),
                user=cluster.account,
            )
        )
    finally:
        password_file.unlink(missing_ok=True)


def _start(layout: Layout, cluster: Cluster, *, fsync: bool) -> Cluster:
    """Start the server, on another port if its own was taken meanwhile."""
    for _ in range(START_TRIES):
        if not ports.is_free(cluster.port):
            changed = {**asdict(cluster), "port": ports.random_free()}
            cluster = Cluster(**changed)
            write_private_json(layout.cluster, changed)
        registry = ServiceRegistry(layout.services)
        registry.ensure(service(layout, cluster, fsync=fsync))
        if _answers(layout, cluster):
            return cluster
        registry.stop(NAME)
        if ports.is_free(cluster.port):
            break
    raise NotAnswering(
        "PostgreSQL does not start",
        "see its log above; `make reset` makes a new, empty cluster",
        layout.log(NAME),
    )


def service(
    layout: Layout, cluster: Cluster, name: str = NAME, *, fsync: bool = True
) -> Service:
    """Return the server of a cluster's folder; name: of the process and its log."""
    settings = {
        "listen_addresses": ports.LOOPBACK,
        "port": str(cluster.port),
        "unix_socket_directories": cluster.folder,
        "max_connections": str(MAX_CONNECTIONS),
        "password_encryption": "scram-sha-256",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "fsync": "on" if fsync else "off",
    }
    options = [word for item in settings.items() for word in ("-c", "=".join(item))]
    return Service(
        name=name,
        command=[str(postgres_program("postgres")), "-D", str(cluster.data), *options],
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
        cwd=Path("/"),
        log=layout.log(name),
        # "Fast shutdown" (PostgreSQL 15, 19.5): it ends sessions and writes all out.
        stop_signal=signal.SIGINT,
        grace_s=60,
        user=cluster.account,
    )


def _answers(layout: Layout, cluster: Cluster) -> bool:
    deadline = time.monotonic() + ANSWER_S
    while is_running(layout) and time.monotonic() < deadline:
        try:
            run_sql(cluster.admin_url(), "SELECT 1;")
        except CommandFailed:
            time.sleep(0.1)
        else:
            return is_running(layout)
    return False


def _ensure_role(cluster: Cluster) -> str:
    """Have the application's role, which is no superuser but may create databases."""
    url = cluster.admin_url()
    if not run_sql(url, "SELECT 1 FROM pg_roles WHERE rolname = :'role';", role=ROLE):
        run_sql(
            url,
            "CREATE ROLE :\"role\" LOGIN CREATEDB PASSWORD :'password';",
            role=ROLE,
            password=cluster.password,
        )
    return cluster.url("postgres")
