"""The `stack` fixture: web, workers and watch as the project starts them, simulated hosts.

It has its own database and folder of hosts. Logs: `.local/log/compat-*.log`.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local import ports
from deploy.local.commands import Command, run_logged
from deploy.local.databases import create_database, drop_database
from deploy.local.django import Django
from deploy.local.environment import (
    django_environment,
    own_database_url,
    with_inherited,
)
from deploy.local.layout import checkout
from deploy.local.locks import exclusive
from deploy.local.probes import wait_for_web, wait_for_worker
from deploy.local.problems import LocalStackError, tail
from deploy.local.progress import describe
from deploy.local.services import ServiceRegistry
from deploy.local.suite import COMPAT_LOCK

DATABASE = "gpucloud_compat"
OTHER_STACK_S = 1800
# How long a simulated host takes to start a machine: `make transient` takes 20.
START_S = float(os.environ.get("GPUCLOUD_COMPAT_START_S", "1"))
ACCOUNTS = ("compat", "stranger")
# Regions claim them so that the peers' own tests find one to be in.
CLAIMED = "Disk Encryption,VPCs,Vlans,Kubernetes,NodeBalancers"


@dataclass(frozen=True)
class Stack:
    """A running gpucloud. tokens: by account. start_s: what a host takes for a start."""

    url: str
    tokens: dict[str, str]
    start_s: float
    django: Django


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start a stack of its own for the session, and end all of it.

    Hidden cost: 10 s on a machine with nothing else to do.
    """
    server_url = own_database_url()
    if server_url is None:
        pytest.fail("DATABASE_URL is not set: run `make test`", pytrace=False)
    with ExitStack() as undo:
        try:
            folder = tmp_path_factory.mktemp("compat")
            undo.callback(shutil.rmtree, folder)
            started = _start(server_url, folder, undo)
        except LocalStackError as error:
            pytest.fail(describe(error, "compat stack", tail(error.log)), pytrace=False)
        yield started


def _start(server_url: str, folder: Path, undo: ExitStack) -> Stack:
    """Start everything; what is to be undone is put on `undo` before it is done."""
    layout = checkout()
    layout.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    undo.enter_context(
        exclusive(layout.local / COMPAT_LOCK, "another compat stack", OTHER_STACK_S)
    )
    services = ServiceRegistry(layout.compat_services)
    # First what a session left that was killed: it may use the database.
    _stop_all(services)
    drop_database(server_url, DATABASE)
    undo.callback(drop_database, server_url, DATABASE)
    database_url = create_database(server_url, DATABASE)
    env = {
        **django_environment(database_url, secrets.token_urlsafe(48)),
        "GPUCLOUD_SIMULATED_HOSTS": str(folder / "hosts"),
        "GPUCLOUD_IMAGE_FOLDER": str(folder / "images"),
        "GPUCLOUD_CLAIMED_CAPABILITIES": CLAIMED,
        # One client after another, each as fast as it can.
        "GPUCLOUD_API_RATE_LIMIT": "0",
    }
    django = Django(layout, env, prefix="compat-")
    tokens = {name: secrets.token_hex(32) for name in ACCOUNTS}
    _seed(django, tokens)
    undo.callback(_stop_all, services)
    port = ports.random_free()
    services.ensure(django.web(port))
    services.ensure(django.worker())
    services.ensure(django.watch())
    wait_for_web(services, django, port)
    wait_for_worker(services, django)
    return Stack(f"http://{ports.LOOPBACK}:{port}", tokens, START_S, django)


def _seed(django: Django, tokens: dict[str, str]) -> None:
    wanted = {"tokens": tokens, "delays": {"start_domain": START_S}}
    run_logged(
        Command(
            [django.layout.python, "-m", "tests.compat.seed"],
            cwd=django.layout.root,
            log=django.layout.log(f"{django.prefix}seed"),
            env=with_inherited(django.env),
            stdin=json.dumps(wanted),
        )
    )


def _stop_all(services: ServiceRegistry) -> None:
    for name in reversed(services.records()):
        services.stop(name)
