"""A hot standby of the drill's database, by pg_basebackup as docs/install.md has it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from deploy.local import postgres
from deploy.local.commands import Command, run_logged
from deploy.local.databases import postgres_program, run_sql
from deploy.local.layout import Layout
from deploy.local.ports import LOOPBACK, random_free
from deploy.local.problems import CommandFailed, LocalStackError
from deploy.local.services import ServiceRegistry

NAME = "standby"
CAUGHT_UP_S = 60.0


@contextmanager
def standby(layout: Layout, primary: postgres.Cluster) -> Iterator[int]:
    """Give the port of a standby that streams from the primary, for a while."""
    cluster = replace(
        primary, folder=str(Path(primary.folder) / NAME), port=random_free()
    )
    arguments = [
        *(postgres_program("pg_basebackup"), "--write-recovery-conf"),
        *("--checkpoint=fast", "--host", LOOPBACK, "--port", str(primary.port)),
        *("--username=postgres", "--pgdata", cluster.data),
    ]
    run_logged(
        Command(
            arguments,
            cwd=Path("/"),
            log=layout.log("pg_basebackup"),
            env={**os.environ, "PGPASSWORD": primary.admin_password},
            user=primary.account,
        )
    )
    registry = ServiceRegistry(layout.services)
    registry.ensure(postgres.service(layout, cluster, NAME))
    try:
        _wait_until_it_streams(primary, cluster)
        yield cluster.port
    finally:
        registry.stop(NAME)


def _wait_until_it_streams(
    primary: postgres.Cluster, cluster: postgres.Cluster
) -> None:
    deadline = time.monotonic() + CAUGHT_UP_S
    while time.monotonic() < deadline:
        now = run_sql(primary.admin_url(), "SELECT pg_current_wal_lsn();")
        try:
            caught_up = run_sql(
                cluster.admin_url(),
                "SELECT pg_last_wal_replay_lsn() >= :'now'::pg_lsn "
                "AND pg_last_xact_replay_timestamp() IS NOT NULL;",
                now=now,
            )
        except CommandFailed:
            # It does not take sessions yet.
            caught_up = ""
        if caught_up == "t":
            return
        time.sleep(0.2)
    raise LocalStackError("the standby does not catch up", "look at its log")
