"""The order of the drill: install, live, upgrade under load, lose a machine, end clean."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.drill.load import Told, under_load
from deploy.drill.machines import UNITS, Machine, installed_unit
from deploy.drill.site import APP, HOSTS, OWNER, SQL, Site
from deploy.drill.standby import standby
from deploy.local import postgres, provision
from deploy.local.commands import Command, run_logged
from deploy.local.databases import run_sql
from deploy.local.layout import Layout, checkout
from deploy.local.ports import LOOPBACK
from deploy.local.problems import LocalStackError
from deploy.local.progress import Progress
from deploy.local.venv import RUNTIME, ensure_venv
from deploy.local.virtual_host import VirtualHost

ANALYZE = Path("/usr/bin/systemd-analyze")
VIRTUAL_HOST, VIRTUAL_REGION = "drill-gpuhost1", "ap-west"
START_S = "1s"
# The step in whose middle a machine is lost, and how long it takes on the hosts. Another
# machine takes over when the step's lease is over: 4 minutes, and 10 of start_domain.
LOST_STEP = "define_domain"
HELD_S = 8.0
QUIET_S = 180.0
TAKEN_OVER_S = 900.0
ENDED = "('succeeded', 'failed')"


@dataclass(frozen=True)
class Plan:
    """old, new: commits. load_s: how long clients work in each state of the upgrade."""

    old: str
    new: str
    load_s: float
    has_pooler: bool
    has_virtual_host: bool


def drill(site: Site, plan: Plan, progress: Progress) -> None:
    """Do all of it; raises LocalStackError at what fails."""
    virtual = VirtualHost(checkout(), VIRTUAL_HOST)
    try:
        with progress.step("PostgreSQL with its roles"):
            site.begin()
        if plan.has_pooler:
            site.put_pooler_between()
        old = _install(site, plan.old, progress)
        _start(site, old, progress)
        with progress.step("a life by the SDK") as notes:
            notes.append(_life_by_the_sdk(site, "us-east", "over TLS"))
        if plan.has_virtual_host:
            _live_on(site, old, virtual, progress)
        _upgrade(site, plan, progress)
        with progress.step("a report by a replica, and without"):
            _report_by_a_replica(site)
        _lose_a_machine(site, progress)
        _end_clean(site, progress)
    finally:
        site.end()
        if plan.has_virtual_host:
            virtual.stop()
        postgres.remove_files(site.layout)
    with progress.step("nothing is left") as notes:
        _assert_no_process(site.folder)
        notes.append("no process")
    _print(site, progress)


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


def commit_of(ref: str) -> str:
    """Return the short name of the commit that a ref names now.

    Raises LocalStackError if it names none.
    """
    found = subprocess.run(
        ["git", "rev-parse", "--short", f"{ref}^{{commit}}"],
        cwd=checkout().root,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode != 0:
        raise LocalStackError(f"{ref} names no commit", "name one with --from and --to")
    return found.stdout.strip()


def _migrate(site: Site, code: Path) -> None:
    site.run(code, "manage.py", "migrate", "--noinput", role=OWNER)
    # A release has its own, as it has its own tables; those before had none.
    own = code / "deploy" / "postgresql" / "grants.sql"
    grants = own if own.exists() else SQL / own.name
    run_sql(site.url(OWNER), grants.read_text())


def _install(site: Site, commit: str, progress: Progress) -> Path:
    with progress.step(f"release {commit}"):
        code = _release(site, commit, "old")
    with progress.step("schema as owner, data as application"):
        _migrate(site, code)
        site.run(code, "manage.py", "load_catalogue", "--lab")
        site.run(code, "manage.py", "load_roles")
        wanted = {key: site.secrets[key] for key in ("staff", "tokens")}
        site.run(code, "manage.py", "bootstrap_lab", stdin=json.dumps(wanted))
        hosts = ("-m", "tests.simulated_hosts", HOSTS, "--delay", f"start={START_S}")
        site.run(code, *hosts)
    with progress.step("units, and the settings as production has them"):
        _verify_units(site, code)
        site.run(
            code,
            *("manage.py", "check", "--deploy", "--fail-level", "WARNING"),
            GPUCLOUD_LAB="false",
            GPUCLOUD_SIMULATED_HOSTS="",
        )
    pooled = "; PgBouncer" if site.pooler else ""
    site.note("installed", f"{commit}; {HOSTS} simulated hosts of 8 cards{pooled}")
    return code


def _verify_units(site: Site, code: Path) -> None:
    """Have systemd read the units, where this machine has it."""
    if ANALYZE.exists():
        units = [
            installed_unit(path, code, site.folder) for path in UNITS.glob("*.service")
        ]
        run_logged(
            Command(
                [ANALYZE, "verify", *units], cwd=code, log=site.folder / "units.log"
            )
        )


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


def _life_by_the_sdk(site: Site, region: str, where: str) -> str:
    """Launch, stop, start and delete with linode_api4, unchanged but for the URL."""
    # Only who runs the drill needs it.
    from linode_api4 import Instance, LinodeClient

    client = LinodeClient(
        site.token,
        base_url=f"{site.proxy.url}/v4",
        ca_path=str(site.proxy.certificate),
        retry=False,
    )
    client.session.trust_env = False
    began = time.monotonic()
    made = client.linode.instance_create(
        "lab-gpu-rtx6000-1",
        region,
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
    site.note(f"a life by the SDK, {where}", figures)
    return figures


def _until(happens: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + QUIET_S
    while not happens():
        if time.monotonic() > deadline:
            raise LocalStackError(f"never: {what}", "look at the logs")
        time.sleep(0.2)


def _live_on(site: Site, code: Path, virtual: VirtualHost, progress: Progress) -> None:
    """Enrol a host with libvirt, QEMU and vfio in a region of its own, and live there."""
    with progress.step("virtual GPU host (minutes the first time)"):
        uri = str(virtual.start()["libvirt_uri"])
        where = ("--region", VIRTUAL_REGION, "--name", VIRTUAL_HOST)
        site.run(code, "manage.py", "enrol_host", uri, *where, *provision.RESERVED)
        site.run(code, "manage.py", "wait_for_cards", "--timeout", f"{QUIET_S:.0f}")
    with progress.step("a life by the SDK, on it") as notes:
        notes.append(_life_by_the_sdk(site, VIRTUAL_REGION, "on the virtual GPU host"))


def _upgrade(site: Site, plan: Plan, progress: Progress) -> None:
    """Go to the new release in the order of docs/release.md, with clients at work."""
    load_s = plan.load_s
    with progress.step(f"release {plan.new}"):
        new = _release(site, plan.new, "new")
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
    site.note("upgraded to", plan.new)


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
    answered = (f"{number} {kind}" for kind, number in site.proxy.answered().items())
    site.note("answers that the proxy passed on", ", ".join(answered))
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


def _report_by_a_replica(site: Site) -> None:
    code = site.folder / "new"

    def told(by_replica: bool) -> None:
        asked = (
            "from datetime import date\n"
            "from instances.reports.catalogue import REPORTS\n"
            "from instances.reports.table import Asked\n"
            "day = date.today()\n"
            "table = REPORTS['inventory'].table(Asked(day, day))\n"
            "told = any('replica' in remark for remark in table.remarks)\n"
            f"assert table.rows and told is {by_replica}, table\n"
        )
        site.run(code, "manage.py", "shell", "-c", asked, GPUCLOUD_REPLICA_URL=url)

    with standby(site.layout, site.server) as port:
        url = site.url(APP, port)
        told(by_replica=True)
    told(by_replica=False)
    site.note("the inventory report", "by the replica; without it by the primary")


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
