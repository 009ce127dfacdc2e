"""`make test`: pytest on the real PostgreSQL, ended again if only the tests used it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import BinaryIO

from deploy.local import postgres
from deploy.local.databases import create_database, drop_database
from deploy.local.environment import with_inherited
from deploy.local.layout import Layout
from deploy.local.locks import exclusive, is_held
from deploy.local.ownership import prepare_local
from deploy.local.progress import Progress
from deploy.local.stack import LOCK, is_database_held, site_environment
from deploy.local.venv import DEVELOPMENT, ensure_venv

TEST_LOCK = "test.lock"
E2E_LOCK = "e2e.lock"
COMPAT_LOCK = "compat.lock"
E2E_HOST_NAME = "e2e-gpuhost1"
# The tests of the whole stack wait more than they work: all others run beside them.
STACK = "e2e"
OTHERS_DATABASE = "gpucloud_others"
_TOLD = "--durations=15"
OTHER_TESTS_S = 3600.0
OTHER_RUN_S = 600.0


def is_testing(layout: Layout) -> bool:
    """Say whether tests run here now, by `make test` or by hand."""
    locks = (TEST_LOCK, E2E_LOCK, COMPAT_LOCK)
    return any(is_held(layout.local / name) for name in locks)


def run_tests(layout: Layout, progress: Progress, arguments: Sequence[str]) -> int:
    """Run pytest with these arguments and return its exit status."""
    prepare_local(layout)
    with exclusive(layout.local / TEST_LOCK, "another `make test`", OTHER_TESTS_S):
        with (
            exclusive(layout.local / LOCK, "`make run`", OTHER_RUN_S),
            progress.step("Python environment (.venv)") as notes,
        ):
            built = ensure_venv(layout, DEVELOPMENT)
            notes.append("installed" if built else "up to date")
        try:
            with (
                exclusive(layout.local / LOCK, "`make run`", OTHER_RUN_S),
                progress.step("PostgreSQL") as notes,
            ):
                env = site_environment(layout, notes, fsync=False)
            return _pytest(layout, env, arguments)
        finally:
            with exclusive(layout.local / LOCK, "`make run`", OTHER_RUN_S):
                if not is_database_held(layout):
                    postgres.stop(layout)
            print(f"make test took {progress.elapsed_s():.0f} s", flush=True)


def _pytest(layout: Layout, env: dict[str, str], arguments: Sequence[str]) -> int:
    if arguments:
        print("-> pytest", flush=True)
        return _wait([_start(layout, env, arguments)])
    log = layout.logs / "test-others.log"
    others_url = create_database(env["DATABASE_URL"], OTHERS_DATABASE)
    print(f"-> pytest: all but the whole stack's tests, into {log}", flush=True)
    children: list[subprocess.Popen[bytes]] = []
    try:
        with log.open("wb") as output:
            others_env = {**env, "DATABASE_URL": others_url}
            others = _start(layout, others_env, ["-m", f"not {STACK}", _TOLD], output)
            children.append(others)
            print("-> pytest: the whole stack", flush=True)
            children.insert(0, _start(layout, env, ["-m", STACK, _TOLD]))
            status = _wait(children)
    finally:
        for child in children:
            child.terminate()
            child.wait()
        drop_database(env["DATABASE_URL"], OTHERS_DATABASE)
    print("-> pytest: all others", flush=True)
    print(log.read_text(errors="replace"), end="", flush=True)
    return status


def _start(
    layout: Layout,
    env: dict[str, str],
    arguments: Sequence[str],
    output: BinaryIO | None = None,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [layout.python, "-m", "pytest", *arguments],
        cwd=layout.root,
        env=with_inherited(env),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    )


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for all of them; return the first status that is not 0, else 0."""
    statuses: list[int] = []
    while len(statuses) < len(children):
        child = children[len(statuses)]
        try:
            status = child.wait()
            # Ended by a signal: as a shell would report it.
            statuses.append(status if status >= 0 else 128 - status)
        except KeyboardInterrupt:
            # The terminal told pytest too; it still has its own stack to end.
            print(f"waiting for pytest (pid {child.pid}) to clean up", flush=True)
    return next((status for status in statuses if status), 0)
