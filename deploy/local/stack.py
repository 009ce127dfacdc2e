"""Brings the local stack up and down: the order of the steps is decided here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploy.local import postgres, provision
from deploy.local.django import WATCH, WEB, WORKER, Django, code_version
from deploy.local.environment import (
    django_environment,
    external_database_url,
    generated_secrets,
    private_database_url,
    write_environment,
)
from deploy.local.layout import Layout
from deploy.local.locks import exclusive
from deploy.local.ownership import prepare_local
from deploy.local.ports import LOOPBACK, preferred_or_next
from deploy.local.private_file import read_json_object, write_private_json
from deploy.local.probes import wait_for_web, wait_for_worker
from deploy.local.progress import Progress
from deploy.local.services import ServiceRegistry
from deploy.local.venv import RUNTIME, ensure_venv
from deploy.local.virtual_host import VirtualHost

HOST_NAME = "gpuhost1"
PREFERRED_PORT = 8000
LOCK = "run.lock"


def up(layout: Layout, progress: Progress) -> None:
    """Have everything run and answer; what runs already is left alone."""
    prepare_local(layout)
    with exclusive(layout.local / LOCK, "`make run` or `make stop`"):
        with progress.step("Python environment (.venv)") as notes:
            built = ensure_venv(layout, RUNTIME)
            notes.append("installed" if built else "up to date")
        with progress.step("PostgreSQL") as notes:
            django = Django(layout, site_environment(layout, notes))
            hold_database(layout)
        version = code_version(layout)
        _load(django, version, progress)
        host = _host(django, progress)
        with progress.step("staff login, accounts and tokens"):
            provision.bootstrap(django, generated_secrets(layout))
        port = _services(django, progress)
        provision.remember_loaded(django, version)
        facts = _facts(layout, port, host)
        if read_json_object(layout.run_json) != facts:
            write_private_json(layout.run_json, facts)
    _say(layout, facts, progress)


def site_environment(
    layout: Layout, notes: list[str], *, fsync: bool = True
) -> dict[str, str]:
    """Have a database server and return Django's variables; writes env.json, env.sh.

    fsync: as postgres.ensure_running() has it.
    """
    url = external_database_url(layout)
    if url is None:
        cluster = postgres.ensure_running(layout, fsync=fsync)
        url = private_database_url(cluster)
        notes.append(f"answers on port {cluster.port}")
    else:
        notes.append("DATABASE_URL names another server; none of our own is started")
    env = django_environment(url, generated_secrets(layout)["secret_key"])
    write_environment(layout, env)
    return env


def hold_database(layout: Layout, *, held: bool = True) -> None:
    """Note whether the cluster goes on running after a `make test`."""
    state = read_json_object(layout.state)
    if state.get("database_held", False) != held:
        write_private_json(layout.state, state | {"database_held": held})


def is_database_held(layout: Layout) -> bool:
    """Say whether the cluster goes on running after a `make test`."""
    return bool(read_json_object(layout.state).get("database_held", False))


def _load(django: Django, version: str, progress: Progress) -> None:
    with progress.step("migrations"):
        provision.migrate(django)
    if provision.is_loaded(django, version):
        return
    with progress.step("catalogue"):
        provision.load_catalogue(django)
    with progress.step("static files"):
        provision.collect_static(django)


def _host(django: Django, progress: Progress) -> dict[str, str]:
    name = f"virtual GPU host {HOST_NAME} (minutes the first time, seconds later)"
    with progress.step(name) as notes:
        facts = VirtualHost(django.layout, HOST_NAME).start()
        uri = str(facts["libvirt_uri"])
        notes.append(f"answers at {uri}")
    with progress.step(f"enrolment of {HOST_NAME}"):
        provision.enrol(django, HOST_NAME, uri)
        # A host that an older checkout started has neither image nor network.
        if facts["tiny_disk"]:
            provision.set_up_guests(django, HOST_NAME, Path(facts["tiny_disk"]))
    return {"name": HOST_NAME, "libvirt_uri": uri}


def _services(django: Django, progress: Progress) -> int:
    layout = django.layout
    registry = ServiceRegistry(layout.services)
    with progress.step("web server") as notes:
        port = _web_port(layout, registry)
        started = registry.ensure(django.web(port))
        wait_for_web(registry, django, port)
        notes.append(f"{'started' if started else 'runs'} on port {port}")
    with progress.step("worker") as notes:
        started = registry.ensure(django.worker())
        wait_for_worker(registry, django)
        notes.append("started" if started else "runs")
    with progress.step("watch over hosts and cards") as notes:
        started = registry.ensure(django.watch())
        notes.append("started" if started else "runs")
    with progress.step("cards scrubbed and tested"):
        provision.wait_for_cards(django)
    return port


def _web_port(layout: Layout, registry: ServiceRegistry) -> int:
    """Return the port of the last run while it can be had, else a free one."""
    state = read_json_object(layout.state)
    last: int | None = state.get("web_port")
    if last is not None and registry.running(WEB) is not None:
        return last
    # What is left of a web server that died may still sit on its port.
    registry.stop(WEB)
    port = preferred_or_next(PREFERRED_PORT if last is None else last)
    write_private_json(layout.state, state | {"web_port": port})
    return port


def _facts(layout: Layout, port: int, host: dict[str, str]) -> dict[str, Any]:
    secrets = generated_secrets(layout)
    return {
        "url": f"http://{LOOPBACK}:{port}",
        "staff": secrets["staff"],
        "tokens": secrets["tokens"],
        "hosts": [host],
    }


def _say(layout: Layout, facts: dict[str, Any], progress: Progress) -> None:
    local = layout.local.name
    print(
        f"""
gpucloud runs ({progress.elapsed_s():.0f} s)

  open       {facts["url"]}/admin/
  log in as  {facts["staff"]["username"]}
  password   {facts["staff"]["password"]}
  then       click Launch on the first page, and watch the instance's page

  tokens for the API, and all of the above: {local}/run.json
  logs: {local}/log/   stop: make stop   start from nothing: make reset
""",
        flush=True,
    )


def running_services(layout: Layout) -> list[str]:
    """Return the names of the site's services that live, the database apart."""
    registry = ServiceRegistry(layout.services)
    return [name for name in (WEB, WORKER, WATCH) if registry.running(name) is not None]
