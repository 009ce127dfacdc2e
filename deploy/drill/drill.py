"""The order of the drill: install, live, upgrade under load, lose a machine, end clean."""

from __future__ import annotations

import io
import json
import os
import secrets
import subprocess
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deploy.drill.load import Caller, Told, under_load
from deploy.drill.machines import Machine
from deploy.drill.proxy import Proxy
from deploy.local import postgres
from deploy.local.commands import Command, run_logged
from deploy.local.databases import run_sql, with_database
from deploy.local.environment import new_secrets
from deploy.local.layout import Layout, checkout
from deploy.local.ports import LOOPBACK, random_free
from deploy.local.problems import LocalStackError
from deploy.local.progress import Progress
from deploy.local.venv import RUNTIME, ensure_venv

SQL = checkout().root / "deploy" / "postgresql"
DATABASE = "production"
OWNER, APP = "gpucloud_owner", "gpucloud_app"
HOSTS = "4"
START_S = "1s"
# The step in whose middle a machine is lost, and how long it takes on the hosts. Another
# machine takes over when the step's lease is over: 4 minutes, and 10 of start_domain.
LOST_STEP = "define_domain"
HELD_S = 8.0
QUIET_S = 180.0
TAKEN_OVER_S = 900.0
ENDED = "('succeeded', 'failed')"


@dataclass
class Site:
    """An installation below one folder: its database, machines and proxy."""

    folder: Path
    secrets: dict[str, object]
    server: postgres.Cluster
    password: str
    proxy: Proxy
    webs: dict[str, Machine] = field(default_factory=dict)
    workers: dict[str, Machine] = field(default_factory=dict)
    watch: dict[str, Machine] = field(default_factory=dict)
    rows: list[tuple[str, str]] = field(default_factory=list)

    def machines(self) -> list[Machine]:
        return [*self.webs.values(), *self.workers.values(), *self.watch.values()]

    def client(self, told: Told) -> Caller:
        """Return a customer's client, which comes by the proxy."""
        return Caller(self.proxy.url, _token(self), self.proxy.certificate, told)

    def url(self, role: str) -> str:
        where = f"{LOOPBACK}:{self.server.port}"
        return f"postgresql://{role}:{self.password}@{where}/{DATABASE}"

    def env(self, role: str = APP, **changes: str) -> dict[str, str]:
        """Return the environment file's variables, in the words of the settings."""
        return {
            "DATABASE_URL": self.url(role),
            "GPUCLOUD_SECRET_KEY": str(self.secrets["secret_key"]),
            "GPUCLOUD_ALLOWED_HOSTS": LOOPBACK,
            "GPUCLOUD_HTTPS": "true",
            # Simulated hosts are a lab's; all else is as in production.
            "GPUCLOUD_LAB": "true",
            "GPUCLOUD_SIMULATED_HOSTS": str(self.folder / "hosts"),
            "GPUCLOUD_IMAGE_FOLDER": str(self.folder / "images"),
            "GPUCLOUD_API_RATE_LIMIT": "0",
            "GPUCLOUD_WORKERS": "3",
            "WEB_PROCESSES": "2",
            **changes,
        }

    def machine(self, name: str, unit: str, **changes: str) -> Machine:
        return Machine(name, unit, self.env(**changes), self.folder)

    def run(
        self, code: Path, *arguments: str, role: str = APP, stdin: str = ""
    ) -> None:
        """Run python in a release's environment; its log is named for the first words."""
        words = [word.strip("-").replace("/", "-") for word in arguments[:2]]
        run_logged(
            Command(
                [code / ".venv" / "bin" / "python", *arguments],
                cwd=code,
                log=self.folder / f"{'-'.join(words)}.log",
                env={**os.environ, **self.env(role)},
                stdin=stdin,
            )
        )

    def ask(self, sql: str) -> str:
        return run_sql(self.url(OWNER), sql)

    def note(self, what: str, figures: str) -> None:
        self.rows.append((what, figures))


def drill(
    folder: Path, old_ref: str, new_ref: str, load_s: float, progress: Progress
) -> None:
    """Do all of it in an empty folder; raises LocalStackError at what fails."""
    site = _site(folder, progress)
    try:
        old = _install(site, old_ref, "old", progress)
        _start(site, old, progress)
        with progress.step("a life by the SDK") as notes:
            notes.append(_life_by_the_sdk(site))
        _upgrade(site, new_ref, load_s, progress)
        _lose_a_machine(site, progress)
        _end_clean(site, progress)
    finally:
        for machine in site.machines():
            machine.kill()
        site.proxy.stop()
        postgres.stop(Layout(folder))
    with progress.step("nothing is left") as notes:
        _assert_no_process(folder)
        notes.append("no process")
    postgres.remove_files(Layout(folder))
    _print(site, progress)


def _site(folder: Path, progress: Progress) -> Site:
    with progress.step("PostgreSQL with its roles"):
        layout = Layout(folder)
        layout.logs.mkdir(parents=True)
        server = postgres.ensure_running(layout)
        password = secrets.token_hex(24)
        run_sql(server.admin_url(), (SQL / "roles.sql").read_text(), database=DATABASE)
        for role in (OWNER, APP):
            run_sql(
                with_database(server.admin_url(), DATABASE),
                "ALTER ROLE :\"role\" PASSWORD :'password';",
                role=role,
                password=password,
            )
    ports = {name: random_free() for name in ("web1", "web2")}
    proxy = Proxy(folder, random_free(), ports)
    return Site(folder, new_secrets(), server, password, proxy)


def _release(site: Site, ref: str, name: str) -> Path:
    """Unpack a commit with an environment of its own; return its folder."""
    root = checkout().root
    packed = subprocess.run(
        ["git", "archive", ref], cwd=root, capture_output=True, check=True
    ).stdout
    code = site.folder / name
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(code, filter="data")
    ensure_venv(Layout(code), RUNTIME)
    site.run(code, "manage.py", "collectstatic", "--noinput")
    return code


def _commit(ref: str) -> str:
    found = subprocess.run(
        ["git", "log", "-1", "--format=%h %s", ref],
        cwd=checkout().root,
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.strip()


def _migrate(site: Site, code: Path) -> None:
    site.run(code, "manage.py", "migrate", "--noinput", role=OWNER)
    run_sql(site.url(OWNER), (SQL / "grants.sql").read_text())


def _install(site: Site, ref: str, name: str, progress: Progress) -> Path:
    with progress.step(f"release {_commit(ref)}"):
        code = _release(site, ref, name)
    with progress.step("schema as owner, data as application"):
        _migrate(site, code)
        site.run(code, "manage.py", "load_catalogue", "--lab")
        site.run(code, "manage.py", "load_roles")
        wanted = {key: site.secrets[key] for key in ("staff", "tokens")}
        site.run(code, "manage.py", "bootstrap_lab", stdin=json.dumps(wanted))
        hosts = ("-m", "tests.simulated_hosts", HOSTS, "--delay", f"start={START_S}")
        site.run(code, *hosts)
    site.note("installed", f"{_commit(ref)}; {HOSTS} simulated hosts of 8 cards")
    return code


def _start(site: Site, code: Path, progress: Progress) -> None:
    with progress.step("2 web and 2 worker machines, a watch, a proxy with TLS"):
        for name, port in site.proxy.ports.items():
            bind = f"{LOOPBACK}:{port}"
            site.webs[name] = site.machine(name, "gpucloud-web", WEB_BIND=bind)
        for name in ("workers1", "workers2"):
            site.workers[name] = site.machine(name, "gpucloud-workers")
        site.watch["watch"] = site.machine("watch", "gpucloud-watch")
        for machine in site.machines():
            machine.start(code)
        site.proxy.start()
        for name in site.webs:
            site.proxy.wait_until_well(name)
        site.run(code, "manage.py", "worker_alive", "--wait", "60")


def _token(site: Site) -> str:
    tokens = site.secrets["tokens"]
    assert isinstance(tokens, dict)  # noqa: S101 -- new_secrets()
    return str(tokens["customer"])


def _life_by_the_sdk(site: Site) -> str:
    """Launch, stop, start and delete with linode_api4, unchanged but for the URL."""
    # Only who runs the drill needs it.
    from linode_api4 import Instance, LinodeClient

    client = LinodeClient(
        _token(site),
        base_url=f"{site.proxy.url}/v4",
        ca_path=str(site.proxy.certificate),
        retry=False,
    )
    client.session.trust_env = False
    began = time.monotonic()
    made = client.linode.instance_create(
        "lab-gpu-rtx6000-1",
        "us-east",
        image="gpucloud/probe",
        root_pass="correct Horse",
    )
    machine = made[0] if isinstance(made, tuple) else made

    def wait(status: str) -> None:
        _until(lambda: client.load(Instance, machine.id).status == status, status)

    wait("running")
    machine.shutdown()
    wait("offline")
    machine.boot()
    wait("running")
    machine.delete()
    gone = f"SELECT count(*) FROM instances_job WHERE state NOT IN {ENDED};"
    _until(lambda: site.ask(gone) == "0", "no open job")
    figures = f"{time.monotonic() - began:.1f} s"
    site.note("a life by the SDK, over TLS", figures)
    return figures


def _until(happens: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + QUIET_S
    while not happens():
        if time.monotonic() > deadline:
            raise LocalStackError(f"never: {what}", "look at the logs")
        time.sleep(0.2)


def _upgrade(site: Site, ref: str, load_s: float, progress: Progress) -> None:
    """Go to the new release in the order of docs/release.md, with clients at work."""
    with progress.step(f"release {_commit(ref)}"):
        new = _release(site, ref, "new")
    with under_load(site.client, readers=3, livers=4) as told:
        with progress.step("load on the old release"):
            time.sleep(load_s)
        with progress.step("migrate, as owner") as notes:
            before = _applied(site)
            _migrate(site, new)
            notes.append(f"{_applied(site) - before} migrations")
            site.note("migrated while the old release worked", notes[0])
        with progress.step("old code on the new schema"):
            done = int(_ended(site, "succeeded"))
            time.sleep(load_s)
            figures = f"{int(_ended(site, 'succeeded')) - done} jobs succeeded"
            site.note("old code on the new schema", f"{figures} in {load_s:.0f} s")
        with progress.step("workers, one machine at a time"):
            for machine in (*site.workers.values(), *site.watch.values()):
                machine.stop()
                machine.start(new)
        with progress.step("web, one machine at a time"):
            for name, machine in site.webs.items():
                site.proxy.drain(name)
                machine.stop()
                machine.start(new)
                site.proxy.put_back(name)
        with progress.step("load on the new release"):
            time.sleep(load_s)
    _tell(site, told)


def _applied(site: Site) -> int:
    return int(site.ask("SELECT count(*) FROM django_migrations;"))


def _ended(site: Site, state: str) -> str:
    return site.ask(f"SELECT count(*) FROM instances_job WHERE state = '{state}';")


def _tell(site: Site, told: Told) -> None:
    figures = ", ".join(f"{number} {what}" for what, number in told.counts.items())
    site.note("clients during the upgrade", figures)
    latency = (
        f"p50 {told.percentile_ms(0.5):.0f} ms, p99 {told.percentile_ms(0.99):.0f}"
    )
    site.note("their answers", f"{latency} ms, longest {told.percentile_ms(1):.0f} ms")
    site.note("seen by the proxy", str(site.proxy.answered()))
    failed = _ended(site, "failed")
    site.note("failed requests, failed jobs", f"{len(told.failures)}, {failed}")
    if told.failures or failed != "0":
        what = "\n".join(told.failures[:20])
        raise LocalStackError(
            f"{len(told.failures)} requests and {failed} jobs failed:\n{what}",
            "the logs say more",
        )


def _lose_a_machine(site: Site, progress: Progress) -> None:
    """Kill the worker machine on which a launch is in its middle; others end it."""
    with progress.step("a worker machine is lost in the middle of a launch") as notes:
        caller = site.client(Told())
        _slow_down(site)
        instance = caller.launch()
        job = f"FROM instances_job WHERE instance_id = {instance}"
        step = (
            "SELECT count(*) FROM instances_jobstep s JOIN instances_job j "
            f"ON j.id = s.job_id WHERE j.instance_id = {instance} "
            f"AND s.name = '{LOST_STEP}' AND s.state = 'running';"
        )
        _until(lambda: site.ask(step) != "0", f"{LOST_STEP} is being done")
        holder = site.ask(f"SELECT lease_holder {job};")
        lost = _machine_of(site, holder)
        count = lost.kill()
        began = time.monotonic()
        caller.wait(instance, "running", TAKEN_OVER_S)
        took = time.monotonic() - began
        attempts = site.ask(f"SELECT attempts, state {job};").split("\t")
        if int(attempts[0]) < 2:
            raise LocalStackError("the launch was not interrupted", "look at the logs")
        notes.append(f"{lost.name}, {count} processes; running {took:.0f} s later")
        site.note("lost amid a launch", f"{notes[0]}, attempt {attempts[0]}")
        caller.delete(instance)


def _slow_down(site: Site) -> None:
    """Let a start take long enough to be met in its middle."""
    code = (
        "from pathlib import Path\n"
        "from tests.simulated_hosts import HostStore\n"
        f"for number in range(1, {HOSTS} + 1):\n"
        f"    store = HostStore(Path({str(site.folder / 'hosts')!r}), f'sim{{number}}')\n"
        f"    store.delay({LOST_STEP!r}, {HELD_S})\n"
    )
    site.run(site.folder / "new", "manage.py", "shell", "-c", code)


def _machine_of(site: Site, holder: str) -> Machine:
    """Return the worker machine with the process that holds a lease.

    holder: HOST/BOOT/PID-NAMESPACE/PID/START, as instances.processes names it.
    """
    namespace = holder.split("/")[2]
    for machine in site.workers.values():
        for member in machine.members():
            try:
                own = Path(f"/proc/{member.pid}/ns/pid").readlink().name
            except OSError:
                continue
            if own.strip("pid:[]") == namespace:
                return machine
    raise LocalStackError(f"nobody is {holder}", "look at the workers' logs")


def _end_clean(site: Site, progress: Progress) -> None:
    with progress.step("ends clean") as notes:
        code = site.folder / "new"
        open_jobs = f"SELECT count(*) FROM instances_job WHERE state NOT IN {ENDED};"
        _until(lambda: site.ask(open_jobs) == "0", "no open job")
        not_ready = "SELECT count(*) FROM inventory_card WHERE condition <> 'ready';"
        _until(lambda: site.ask(not_ready) == "0", "all cards are ready again")
        left = {
            table: site.ask(f"SELECT count(*) FROM {table} WHERE released_at IS NULL;")
            for table in (
                *("inventory_cardclaim", "inventory_nodeclaim"),
                "inventory_addressclaim",
            )
        }
        if set(left.values()) != {"0"}:
            raise LocalStackError(f"claims are left: {left}", "look at the logs")
        for command in ("reconcile", "verify_ledger", "verify_usage"):
            site.run(code, "manage.py", command)
        notes.append("no claim, no open job, reconcile and both audits pass")
        jobs = f"{_ended(site, 'succeeded')} jobs succeeded, {_ended(site, 'failed')} failed"
        site.note("in the end", f"{jobs}; {notes[0]}")


def _assert_no_process(folder: Path) -> None:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                current = (entry / "cwd").readlink()
            except OSError:
                continue
            if current.is_relative_to(folder):
                found.append(entry.name)
    if found:
        raise LocalStackError(f"processes are left: {found}", "look at them with ps")


def _print(site: Site, progress: Progress) -> None:
    print(f"\nthe drill passed ({progress.elapsed_s():.0f} s)\n")
    for what, figures in site.rows:
        print(f"  {what:<40} {figures}")
