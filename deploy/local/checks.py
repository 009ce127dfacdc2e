"""`make check`: every check that needs no database, all of them, then a summary."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from pathlib import Path

from deploy.local.dependencies import SKIPPED
from deploy.local.environment import with_inherited
from deploy.local.layout import Layout
from deploy.local.locks import exclusive
from deploy.local.ownership import prepare_local
from deploy.local.progress import Progress
from deploy.local.stack import LOCK
from deploy.local.venv import DEVELOPMENT, ensure_venv

OTHER_RUN_S = 600.0


def checks(layout: Layout) -> dict[str, list[str | Path]]:
    """Return the command of every check by its name."""
    programs = layout.venv / "bin"
    python = layout.python
    # The migrations' history is asked of a database that a check has no need of.
    quiet = (python, "-W", "ignore::RuntimeWarning", "manage.py")
    return {
        "ruff": [programs / "ruff", "check"],
        "format": [programs / "ruff", "format", "--check"],
        "mypy": [programs / "mypy"],
        "layers": [programs / "lint-imports"],
        "migrations": [*quiet, "makemigrations", "--check", "--dry-run"],
        "deploy": [*quiet, "check", "--deploy", "--fail-level", "WARNING"],
        "openapi": [
            *quiet,
            *("spectacular", "--validate", "--fail-on-warn", "--file", os.devnull),
        ],
        "licences": [python, "-m", "deploy.local.dependencies", "licences"],
        "advisories": [python, "-m", "deploy.local.dependencies", "advisories"],
    }


def production_environment() -> dict[str, str]:
    """Return variables as strict as those of production, with a database of no use."""
    return {
        "DJANGO_SETTINGS_MODULE": "gpucloud_site.settings",
        # Port 9 is "discard": nothing listens there, and the refusal comes at once.
        "DATABASE_URL": "postgres://check:check@127.0.0.1:9/check",
        "GPUCLOUD_SECRET_KEY": secrets.token_urlsafe(48),
        "GPUCLOUD_ALLOWED_HOSTS": "gpucloud.example",
        "GPUCLOUD_HTTPS": "true",
        "GPUCLOUD_LAB": "false",
        # Whoever sourced .local/env.sh has it set.
        "GPUCLOUD_SIMULATED_HOSTS": "",
    }


def format_code(layout: Layout, progress: Progress) -> int:
    """Format the code and repair what can be; return 0 if nothing is left to do."""
    _prepare(layout, progress)
    ruff = layout.venv / "bin" / "ruff"
    repaired = subprocess.run([ruff, "check", "--fix"], cwd=layout.root, check=False)
    formatted = subprocess.run([ruff, "format"], cwd=layout.root, check=False)
    return repaired.returncode or formatted.returncode


def _prepare(layout: Layout, progress: Progress) -> None:
    prepare_local(layout)
    with (
        exclusive(layout.local / LOCK, "`make run`", OTHER_RUN_S),
        progress.step("Python environment (.venv)") as notes,
    ):
        built = ensure_venv(layout, DEVELOPMENT)
        notes.append("installed" if built else "up to date")


def run_checks(layout: Layout, progress: Progress) -> int:
    """Run all checks; return 0 if none failed, else 1."""
    _prepare(layout, progress)
    env = with_inherited(production_environment())
    results = []
    for name, command in checks(layout).items():
        start = time.monotonic()
        print(f"-> {name}", flush=True)
        status = subprocess.run(
            command,
            cwd=layout.root,
            env=env,
            check=False,
            stdin=subprocess.DEVNULL,
        ).returncode
        results.append((name, status, time.monotonic() - start))
    print()
    for name, status, took in results:
        word = {0: "ok", SKIPPED: "skipped"}.get(status, "FAILED")
        print(f"  {word:<7} {name:<12} {took:5.1f} s")
    return 0 if all(status in (0, SKIPPED) for _, status, _ in results) else 1
