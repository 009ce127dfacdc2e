"""Reads the command line, calls the verb, and puts a failure into words."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from deploy.local.checks import format_code, run_checks
from deploy.local.databases import create_database
from deploy.local.environment import with_inherited
from deploy.local.layout import Layout, checkout
from deploy.local.locks import exclusive
from deploy.local.ownership import prepare_local
from deploy.local.private_file import read_json_object
from deploy.local.problems import LocalStackError, from_os_error, tail
from deploy.local.progress import Progress, describe
from deploy.local.stack import LOCK, hold_database, site_environment, up
from deploy.local.status import show_status
from deploy.local.suite import run_tests
from deploy.local.teardown import down, reset
from deploy.local.venv import DEVELOPMENT, RUNTIME, ensure_venv

USAGE = """python3 -m deploy.local VERB
  up | down | reset | status
  venv                make .venv, nothing else
  database [NAME]     start PostgreSQL alone (`down` ends it), print a database's URL
  manage ARGUMENT...  manage.py with the stack's environment
  simulate COUNT ...  enrol so many simulated hosts (`simulate --help`)
  test [ARGUMENT...]  pytest
  drill [ARGUMENT...] install, upgrade under load, lose a machine (`drill --help`)
  check               ruff, mypy, import-linter, migrations, Django's deploy check,
                      licences, known holes
  format              ruff: format, and repair what it can"""


def main(arguments: Sequence[str]) -> int:
    """Run one verb and return the exit status."""
    progress = Progress()
    verb, *rest = arguments or ["help"]
    try:
        return _run(checkout(), progress, verb, rest)
    except LocalStackError as error:
        print(describe(error, progress.current, tail(error.log)), file=sys.stderr)
    except OSError as error:
        problem = from_os_error(error)
        print(describe(problem, progress.current, ""), file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; `make stop` ends what runs", file=sys.stderr)
        return 130
    return 1


def _run(layout: Layout, progress: Progress, verb: str, rest: list[str]) -> int:
    simple = {"up": up, "down": down, "reset": reset}
    if verb in simple and not rest:
        simple[verb](layout, progress)
        return 0
    status: dict[str, Callable[[], int]] = {
        "status": lambda: show_status(layout),
        "format": lambda: format_code(layout, progress),
        "check": lambda: run_checks(layout, progress),
        "test": lambda: run_tests(layout, progress, rest),
        "venv": lambda: _venv(layout),
        "database": lambda: _database(layout, *rest[:1]),
        "drill": lambda: _drill(layout, rest),
        "manage": lambda: _python(layout, "manage.py", *rest),
        "simulate": lambda: _python(layout, "-m", "tests.simulated_hosts", *rest),
    }
    if verb in status:
        return status[verb]()
    print(USAGE, file=sys.stderr)
    return 0 if verb in {"help", "-h", "--help"} else 2


def _venv(layout: Layout) -> int:
    prepare_local(layout)
    with exclusive(layout.local / LOCK, "`make run`"):
        ensure_venv(layout, RUNTIME)
    return 0


def _database(layout: Layout, name: str | None = None) -> int:
    prepare_local(layout)
    with exclusive(layout.local / LOCK, "`make run`", 60):
        url = site_environment(layout, [])["DATABASE_URL"]
        hold_database(layout)
    print(create_database(url, name) if name else url)
    return 0


def _drill(layout: Layout, rest: list[str]) -> int:
    prepare_local(layout)
    with exclusive(layout.local / LOCK, "`make run`", 60):
        ensure_venv(layout, DEVELOPMENT)
    command = [layout.python, "-m", "deploy.drill", *rest]
    return subprocess.run(command, cwd=layout.root, check=False).returncode


def _python(layout: Layout, *arguments: str) -> NoReturn:
    env = read_json_object(layout.env_json)
    if not env:
        raise LocalStackError("there is no environment yet", "run `make run` first")
    os.chdir(layout.root)
    command = [str(layout.python), *arguments]
    # In place of this process: a shell needs the terminal and its signals.
    os.execve(command[0], command, with_inherited(env))  # noqa: S606 - no shell wanted
