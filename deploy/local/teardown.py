"""Ends exactly what the local stack started, and empties `.local/` when asked."""

from __future__ import annotations

import shutil

from deploy.local import postgres
from deploy.local.layout import Layout
from deploy.local.locks import exclusive
from deploy.local.ownership import is_ours
from deploy.local.problems import Busy, LocalStackError
from deploy.local.processes import works_in
from deploy.local.progress import Progress
from deploy.local.services import ServiceRegistry
from deploy.local.stack import HOST_NAME, LOCK, hold_database
from deploy.local.suite import E2E_HOST_NAME, is_testing
from deploy.local.virtual_host import VirtualHost

WAIT_S = 60.0


def down(layout: Layout, progress: Progress) -> None:
    """End all that runs; nothing happens when nothing does."""
    if not layout.local.exists() or not is_ours(layout):
        print("nothing runs here")
        return
    with exclusive(layout.local / LOCK, "`make run` or `make stop`", WAIT_S):
        _end_all(layout, progress)


def reset(layout: Layout, progress: Progress) -> None:
    """End all that runs, then delete all that `.local/` holds."""
    if not layout.local.exists() or not any(layout.local.iterdir()):
        print("nothing to reset")
        return
    if is_testing(layout):
        raise Busy("tests are running here", "wait for it, or end it, then again")
    if is_ours(layout):
        with exclusive(layout.local / LOCK, "`make run` or `make stop`", WAIT_S):
            _end_all(layout, progress)
            postgres.remove_files(layout)
    else:
        _end_what_moved_along(layout, progress)
    with progress.step("empty .local/"):
        # Its contents only: a person may have put it on another disk.
        for path in layout.local.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _end_what_moved_along(layout: Layout, progress: Progress) -> None:
    """End the services that work in this checkout, not those of a copy's origin."""
    registry = ServiceRegistry(layout.services)
    for name in reversed(registry.records()):
        process = registry.running(name)
        if process is not None and works_in(process, layout.root):
            _end(registry, name, progress)
        elif process is not None:
            print(f"{name} belongs to another checkout and goes on", flush=True)


def _end_all(layout: Layout, progress: Progress) -> None:
    layout.run_json.unlink(missing_ok=True)
    testing = is_testing(layout)
    registry = ServiceRegistry(layout.services)
    for name in reversed(registry.records()):
        if name != postgres.NAME:
            _end(registry, name, progress)
    failed = _end_host(VirtualHost(layout, HOST_NAME), progress)
    hold_database(layout, held=False)
    if testing:
        print("PostgreSQL goes on for the tests that are running", flush=True)
    else:
        failed = _end_leftovers_of_tests(layout, progress) or failed
        if postgres.is_running(layout):
            _end(registry, postgres.NAME, progress)
    if failed is not None:
        raise failed


def _end(registry: ServiceRegistry, name: str, progress: Progress) -> None:
    with progress.step(f"end {name}") as notes:
        alive = registry.running(name) is not None
        obeyed = registry.stop(name)
        if not alive:
            notes.append("it had ended already")
        elif not obeyed:
            notes.append("it did not end by itself and was killed")


def _end_host(host: VirtualHost, progress: Progress) -> LocalStackError | None:
    """End a virtual host; a failure is returned, for the rest must end all the same."""
    if not host.folder.exists():
        return None
    try:
        with progress.step(f"end virtual host {host.name}"):
            host.stop()
    except LocalStackError as error:
        return error
    return None


def _end_leftovers_of_tests(
    layout: Layout, progress: Progress
) -> LocalStackError | None:
    """End what a `make test` that was killed could not end itself."""
    for services in (layout.e2e_services, layout.compat_services):
        registry = ServiceRegistry(services)
        for name in reversed(registry.records()):
            _end(registry, name, progress)
    return _end_host(VirtualHost(layout, E2E_HOST_NAME), progress)
