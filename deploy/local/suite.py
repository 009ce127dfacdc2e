"""`make test`: pytest on the real PostgreSQL, ended again if only the tests used it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from deploy.local import postgres
from deploy.local.environment import with_inherited
from deploy.local.layout import Layout
from deploy.local.locks import exclusive, is_held
from deploy.local.ownership import prepare_local
from deploy.local.progress import Progress
from deploy.local.stack import LOCK, is_database_held, site_environment
from deploy.local.venv import DEVELOPMENT, ensure_venv

TEST_LOCK = "test.lock"
E2E_LOCK = "e2e.lock"
E2E_HOST_NAME = "e2e-gpuhost1"
OTHER_TESTS_S = 3600.0
OTHER_RUN_S = 600.0


def is_testing(layout: Layout) -> bool:
    """Say whether tests run here now, by `make test` or by hand."""
    return any(is_held(layout.local / name) for name in (TEST_LOCK, E2E_LOCK))


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
                env = site_environment(layout, notes)
            return _pytest(layout, env, arguments)
        finally:
            with exclusive(layout.local / LOCK, "`make run`", OTHER_RUN_S):
                if not is_database_held(layout):
                    postgres.stop(layout)
            print(f"make test took {progress.elapsed_s():.0f} s", flush=True)


def _pytest(layout: Layout, env: dict[str, str], arguments: Sequence[str]) -> int:
    print("-> pytest", flush=True)
    child = subprocess.Popen(
        [layout.python, "-m", "pytest", *arguments],
        cwd=layout.root,
        env=with_inherited(env),
        stdin=subprocess.DEVNULL,
    )
    while True:
        try:
            status = child.wait()
            # Ended by a signal: as a shell would report it.
            return status if status >= 0 else 128 - status
        except KeyboardInterrupt:
            # The terminal told pytest too; it still has its own stack to end.
            print(f"waiting for pytest (pid {child.pid}) to clean up", flush=True)
