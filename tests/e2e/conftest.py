"""The `stack` fixture: the whole of gpucloud, running apart from that of `make run`.

It has its own database, virtual GPU host, web server and worker, and shares the code
that starts them with `make run`. Logs: `.local/log/e2e-*.log`.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from deploy.local import ports, provision
from deploy.local.databases import create_database, drop_database
from deploy.local.django import Django
from deploy.local.environment import (
    django_environment,
    new_secrets,
    own_database_url,
    with_inherited,
)
from deploy.local.layout import checkout
from deploy.local.locks import exclusive
from deploy.local.probes import wait_for_web, wait_for_worker
from deploy.local.problems import LocalStackError, tail
from deploy.local.progress import describe
from deploy.local.services import ServiceRegistry
from deploy.local.suite import E2E_HOST_NAME, E2E_LOCK
from tests.e2e.observing import Rows
from tests.gpuhost.host import VirtualGpuHost

# `make soak` alone: it takes hours.
collect_ignore = [] if os.environ.get("GPUCLOUD_SOAK_CYCLES") else ["test_soak.py"]
DATABASE = "gpucloud_e2e"
BOARD = "2x2"
CARD = "rtx6000"
CYCLE_S = 10
_SILENT_HOSTS = (
    "Host.objects.filter(policy='in_service').exclude(connection='ok').count()"
)
OTHER_STACK_S = 1800
MANAGE_S = 300
CARDS_CHECKED_S = 180
LITTLE_PATIENCE_S = 20


@dataclass(frozen=True)
class Staff:
    """A login for the admin."""

    username: str
    password: str


@dataclass(frozen=True)
class EnrolledHost:
    """A host in the inventory."""

    name: str
    libvirt_uri: str


@dataclass(frozen=True)
class Stack:
    """A running gpucloud and the means to use it."""

    url: str
    staff: Staff
    # By owner: employee, customer, customer2 (with GPUs), no_gpu.
    tokens: dict[str, str]
    hosts: list[EnrolledHost]
    database_url: str
    gpuhost: VirtualGpuHost
    django: Django
    services: ServiceRegistry
    port: int
    rows: Rows
    # What was waited for and did not come.
    in_vain: list[str] = field(default_factory=list)
    # What its worker's settings are besides.
    worker_env: dict[str, str] = field(default_factory=dict)

    def manage(self, *arguments: str, stdin: str = "") -> str:
        """Run manage.py on the stack's database and return its standard output."""
        layout = self.django.layout
        result = subprocess.run(  # noqa: S603 - the project's own command
            [layout.python, "manage.py", *arguments],
            cwd=layout.root,
            env=with_inherited(self.django.env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=MANAGE_S,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def check(self, command: str, *arguments: str) -> None:
        """Run a command of manage.py that only reads rows; a process would cost seconds."""
        self.rows(f"manage(*{[command, *arguments]!r})")

    def wait_for_cards(self) -> None:
        """Wait until every card is checked; not for long once that was in vain.

        Otherwise one dead host would cost every test its whole patience.
        """
        self.gpuhost.running()
        patience_s = LITTLE_PATIENCE_S if self.in_vain else CARDS_CHECKED_S
        self.in_vain.append("until the cards are checked")
        self.check("wait_for_cards", "--timeout", str(patience_s))
        self.in_vain.clear()
        # On a crowded machine a look may come too late; the next one sets it right. A host
        # that a test has silenced is not waited for.
        until = time.monotonic() + 3 * CYCLE_S
        while self.rows(_SILENT_HOSTS) and time.monotonic() < until:
            time.sleep(0.5)

    def _worker(self) -> Django:
        return replace(self.django, env={**self.django.env, **self.worker_env})

    def stop_worker(self) -> None:
        """End the worker, as a crash of its machine would: jobs stay where they are."""
        self.services.stop(self._worker().worker().name)

    def start_worker(self) -> None:
        """Start the worker again and wait until it works."""
        django = self._worker()
        self.services.ensure(django.worker())
        wait_for_worker(self.services, django)

    @contextmanager
    def worker_with(self, **env: str) -> Iterator[None]:
        """Have a worker with other settings for a while."""
        self.worker_env.update(env)
        self.start_worker()
        try:
            yield
        finally:
            self.worker_env.clear()
            self.start_worker()

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Have nobody look at hosts for a while; afterwards one is looked at at once."""
        self.services.stop(self.django.watch().name)
        due = "Host.objects.update(reconcile_due_at='{}')"
        self.rows(due.format("2100-01-01T00:00Z"))
        try:
            yield
        finally:
            self.rows(due.format("2000-01-01T00:00Z"))
            self.services.ensure(self.django.watch())

    @contextmanager
    def sanitising_off(self) -> Iterator[None]:
        """Have cards go from tenant to tenant as they are, which saves minutes."""
        with self.worker_with(GPUCLOUD_LAB_SKIPS_SANITISING="true"):
            yield
            # One let through halfway would be tested as if it had been wiped.
            self.wait_for_cards()

    def enrol(self, name: str, libvirt_uri: str) -> None:
        """Have one more host in the inventory."""
        provision.enrol(self.django, name, libvirt_uri)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Start a stack of its own for the session, and end all of it.

    Hidden cost: about 15 s; minutes when the virtual host's image is not built yet.
    """
    server_url = own_database_url()
    if server_url is None:
        pytest.fail("DATABASE_URL is not set: run `make test`", pytrace=False)
    with ExitStack() as undo:
        try:
            started = start_stack(server_url, undo)
        except LocalStackError as error:
            pytest.fail(describe(error, "e2e stack", tail(error.log)), pytrace=False)
        yield started


@pytest.fixture(scope="module")
def unsanitised(stack: Stack) -> Iterator[None]:
    """Leave the cards' checks out of a module that is not about them."""
    with stack.sanitising_off():
        yield


def start_stack(server_url: str, undo: ExitStack) -> Stack:
    """Start everything; what is to be undone is put on `undo` before it is done."""
    layout = checkout()
    layout.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    undo.enter_context(
        exclusive(layout.local / E2E_LOCK, "another e2e stack", OTHER_STACK_S)
    )
    services = ServiceRegistry(layout.e2e_services)
    # First what a session left that was killed: it may use the database.
    _stop_all(services)
    drop_database(server_url, DATABASE)
    undo.callback(drop_database, server_url, DATABASE)
    database_url = create_database(server_url, DATABASE)

    secrets = new_secrets()
    env = {
        **django_environment(database_url, secrets["secret_key"]),
        # Faults are to be seen in seconds.
        "GPUCLOUD_RECONCILE_CYCLE_S": str(CYCLE_S),
        # Several faults of one session end in quarantine; nobody is there to be asked.
        "GPUCLOUD_QUARANTINE_SHARE_PERCENT": "100",
    }
    django = Django(layout, env, prefix="e2e-")
    gpuhost = VirtualGpuHost(
        E2E_HOST_NAME, BOARD, CARD, run_dir=layout.run / E2E_HOST_NAME
    )
    undo.callback(gpuhost.stop)
    undo.callback(_stop_all, services)
    facts = gpuhost.restore()
    uri = facts.libvirt_uri
    _provision(django, uri, secrets)
    provision.set_up_guests(django, E2E_HOST_NAME, Path(facts.tiny_disk))
    port = ports.random_free()
    services.ensure(django.web(port))
    services.ensure(django.worker())
    services.ensure(django.watch())
    wait_for_web(services, django, port)
    wait_for_worker(services, django)
    provision.wait_for_cards(django)
    rows = Rows(django)
    undo.callback(rows.close)
    return Stack(
        url=f"http://{ports.LOOPBACK}:{port}",
        staff=Staff(**secrets["staff"]),
        tokens=secrets["tokens"],
        hosts=[EnrolledHost(E2E_HOST_NAME, uri)],
        database_url=database_url,
        gpuhost=gpuhost,
        django=django,
        services=services,
        port=port,
        rows=rows,
    )


def _provision(django: Django, libvirt_uri: str, secrets: dict[str, Any]) -> None:
    provision.migrate(django)
    provision.load_catalogue(django)
    provision.collect_static(django)
    provision.enrol(django, E2E_HOST_NAME, libvirt_uri)
    provision.bootstrap(django, secrets)


def _stop_all(services: ServiceRegistry) -> None:
    for name in reversed(services.records()):
        services.stop(name)


# Playwright's sync interface runs an event loop in this thread, and Django then
# refuses the ORM, pytest-django's own clean-up of the test database included.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
