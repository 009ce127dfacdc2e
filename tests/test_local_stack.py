"""What of the local stack can be tested without starting it all."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.local import environment
from deploy.local.commands import Command, run_logged
from deploy.local.databases import database_name, postgres_program, with_database
from deploy.local.django import code_version
from deploy.local.layout import Layout, checkout
from deploy.local.locks import exclusive, is_held
from deploy.local.ownership import is_ours, prepare_local
from deploy.local.ports import is_free, preferred_or_next, random_free
from deploy.local.postgres import Cluster
from deploy.local.private_file import write_private_json
from deploy.local.problems import (
    DISK_FULL,
    Busy,
    CommandFailed,
    LocalStackError,
    MovedCheckout,
    ProgramMissing,
    tail,
)
from deploy.local.processes import identify, is_alive, send, session_of
from deploy.local.progress import Progress
from deploy.local.services import Service, ServiceRegistry
from deploy.local.teardown import down, reset
from deploy.local.venv import stamp_for

SLEEP = [sys.executable, "-c", "import time; time.sleep(300)"]
# A leader with a child that ignores SIGTERM, as a worker within its work does.
STUBBORN_FAMILY = [
    sys.executable,
    "-c",
    "import os, signal, time\n"
    "child = os.fork()\n"
    "if child == 0: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "else: print(child, flush=True)\n"
    "time.sleep(300)",
]
PACKAGES = checkout().root / "deploy" / "local" / "packages.sh"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return an empty checkout."""
    made = Layout(tmp_path)
    prepare_local(made)
    return made


def a_cluster(**changes: Any) -> Cluster:
    cluster = Cluster(
        folder="/nowhere",
        account=None,
        port=20001,
        admin_password="a",
        password="secret",
    )
    return replace(cluster, **changes)


def a_service(layout: Layout, **changes: Any) -> Service:
    service = Service(
        name="sleeper",
        command=SLEEP,
        env=dict(os.environ),
        cwd=layout.root,
        log=layout.log("sleeper"),
        grace_s=10,
    )
    return replace(service, **changes)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def missing_packages(folder: Path, installed: str) -> list[str]:
    """Run packages.sh with a dpkg-query that knows only these lines."""
    fake = folder / "dpkg-query"
    fake.write_text(f"#!/bin/sh\nprintf '{installed}'\nexit 1\n", encoding="ascii")
    fake.chmod(0o755)
    result = subprocess.run(  # noqa: S603 - the project's own script
        ["/bin/sh", PACKAGES, "--missing"],
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.split()


# --- ports ----------------------------------------------------------------------------


def test_a_taken_port_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_the_preferred_port_is_taken_when_free() -> None:
    assert preferred_or_next(8000, free=lambda port: True) == 8000


def test_the_next_free_port_replaces_a_taken_one() -> None:
    assert preferred_or_next(8000, free=lambda port: port > 8002) == 8003


def test_no_free_port_is_said() -> None:
    with pytest.raises(LocalStackError, match="no free port from 8000 up"):
        preferred_or_next(8000, free=lambda port: False)


def test_a_random_port_is_below_the_ephemeral_range() -> None:
    assert 20000 <= random_free(free=lambda port: True) < 30000


# --- processes ------------------------------------------------------------------------


def test_a_recycled_pid_is_not_the_process() -> None:
    me = identify(os.getpid())
    assert me is not None

    earlier = replace(me, started=me.started - 1)

    assert is_alive(me)
    assert not is_alive(earlier)
    assert not is_alive(replace(me, boot="another"))


def test_a_recycled_pid_gets_no_signal() -> None:
    child = subprocess.Popen(SLEEP, start_new_session=True)  # noqa: S603
    process = identify(child.pid)
    assert process is not None

    send(replace(process, started=process.started - 1), signal.SIGKILL)

    assert child.poll() is None
    assert session_of(replace(process, started=process.started - 1)) == []
    child.kill()
    child.wait()


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert identify(child.pid) is None
    child.wait()


# --- services -------------------------------------------------------------------------


def test_a_service_that_runs_is_left_alone(layout: Layout) -> None:
    registry = ServiceRegistry(layout.services)
    assert registry.ensure(a_service(layout)) is True
    first = registry.running("sleeper")

    assert registry.ensure(a_service(layout)) is False

    assert registry.running("sleeper") == first
    assert registry.stop("sleeper") is True
    assert registry.running("sleeper") is None
    assert registry.records() == {}


def test_a_service_whose_version_changed_is_started_again(layout: Layout) -> None:
    registry = ServiceRegistry(layout.services)
    registry.ensure(a_service(layout, version="1"))
    first = registry.running("sleeper")
    assert first is not None

    assert registry.ensure(a_service(layout, version="2")) is True

    assert not is_alive(first)
    assert registry.running("sleeper") not in {None, first}
    registry.stop("sleeper")


def test_a_service_that_died_is_started_again(layout: Layout) -> None:
    registry = ServiceRegistry(layout.services)
    registry.ensure(a_service(layout, command=["/bin/true"]))
    while registry.running("sleeper") is not None:
        pass

    assert registry.ensure(a_service(layout)) is True

    registry.stop("sleeper")


def test_stopping_ends_the_children_that_outlive_their_leader(layout: Layout) -> None:
    registry = ServiceRegistry(layout.services)
    registry.ensure(a_service(layout, command=STUBBORN_FAMILY))
    while not (text := layout.log("sleeper").read_text(encoding="ascii")):
        pass
    child = identify(int(text))
    leader = registry.running("sleeper")
    assert child is not None
    assert leader is not None
    send(leader, signal.SIGKILL)

    registry.stop("sleeper")

    assert not is_alive(child)


def test_a_program_that_is_not_there_is_named(layout: Layout) -> None:
    registry = ServiceRegistry(layout.services)

    with pytest.raises(ProgramMissing, match="/no/such/program is not there"):
        registry.ensure(a_service(layout, command=["/no/such/program"]))

    assert registry.records() == {}


# --- commands -------------------------------------------------------------------------


def test_a_failed_command_names_its_status_and_its_own_last_lines(
    layout: Layout,
) -> None:
    log = layout.log("sh")
    run_logged(Command(["/bin/sh", "-c", "echo before"], layout.root, log))

    with pytest.raises(CommandFailed, match="ended with status 3") as failure:
        run_logged(Command(["/bin/sh", "-c", "echo boom; exit 3"], layout.root, log))

    assert tail(failure.value.log).splitlines()[1:] == ["boom"]


def test_a_full_disk_is_recognised(layout: Layout) -> None:
    script = "echo 'cc: No space left on device'; exit 1"

    with pytest.raises(CommandFailed) as failure:
        run_logged(Command(["/bin/sh", "-c", script], layout.root, layout.log("sh")))

    assert failure.value.remedy == DISK_FULL


# --- stamps ---------------------------------------------------------------------------


def test_the_stamp_changes_with_the_lock_the_python_and_the_path(
    tmp_path: Path,
) -> None:
    locks = [tmp_path / "a" / "r.txt", tmp_path / "b" / "r.txt"]
    for lock in locks:
        lock.parent.mkdir()
        lock.write_text("django==5.2.19\n", encoding="ascii")
    before = stamp_for(locks[0], "3.11")

    assert stamp_for(locks[0], "3.11") == before
    assert stamp_for(locks[0], "3.12") != before
    assert stamp_for(locks[1], "3.11") != before
    locks[0].write_text("django==5.2.20\n", encoding="ascii")
    assert stamp_for(locks[0], "3.11") != before


def test_the_code_version_changes_with_code_and_not_with_bytecode(
    layout: Layout,
) -> None:
    (layout.root / "requirements.txt").touch()
    app = layout.root / "inventory"
    app.mkdir()
    (app / "ledger.py").write_text("x = 1\n", encoding="ascii")
    before = code_version(layout)

    (app / "ledger.pyc").touch()
    assert code_version(layout) == before
    (app / "ledger.py").write_text("x = 10\n", encoding="ascii")
    assert code_version(layout) != before


# --- secrets and environment ----------------------------------------------------------


def test_private_files_are_private_from_the_start(layout: Layout) -> None:
    old = os.umask(0)
    try:
        write_private_json(layout.run_json, {"a": 1})
        environment.write_environment(layout, {"A": "it's $HOME"})
        environment.generated_secrets(layout)
    finally:
        os.umask(old)

    for path in (layout.run_json, layout.env_json, layout.env_sh, layout.secrets):
        assert mode_of(path) == 0o600
    assert json.loads(layout.run_json.read_text(encoding="ascii")) == {"a": 1}
    assert sorted(path.name for path in layout.local.iterdir()) == [
        "env.json",
        "env.sh",
        "log",
        "run.json",
        "secrets.json",
        "state.json",
    ]


def test_env_sh_gives_a_shell_the_exact_values(layout: Layout) -> None:
    environment.write_environment(layout, {"GPUCLOUD_TEST": "it's $HOME"})

    shown = subprocess.run(  # noqa: S603 - the file under test
        ["/bin/sh", "-c", '. "$0"; printf %s "$GPUCLOUD_TEST"', layout.env_sh],
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout == "it's $HOME"


def test_secrets_are_made_once(layout: Layout) -> None:
    first = environment.generated_secrets(layout)

    assert environment.generated_secrets(layout) == first
    assert set(first["tokens"]) == {"employee", "customer", "customer2", "no_gpu"}
    assert len(set(first["tokens"].values())) == 4
    assert first["staff"] != environment.new_secrets()["staff"]


def test_another_servers_url_replaces_the_private_cluster(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = a_cluster()
    write_private_json(layout.cluster, cluster.__dict__)

    monkeypatch.setenv("DATABASE_URL", "postgres://u:other@db.example:5432/x")
    assert environment.external_database_url(layout) is not None


def test_the_private_clusters_own_url_is_no_other_server(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sourced env.sh must not stop the cluster from being started."""
    cluster = a_cluster()
    write_private_json(layout.cluster, cluster.__dict__)

    monkeypatch.setenv("DATABASE_URL", a_cluster(port=20002).url("mine"))

    assert environment.external_database_url(layout) is None
    assert environment.private_database_url(cluster) == cluster.url("mine")


def test_the_database_in_a_url_can_be_replaced() -> None:
    url = "postgres://u:p@h:1/a?sslmode=require"

    assert database_name(url) == "a"
    assert with_database(url, "b") == "postgres://u:p@h:1/b?sslmode=require"


def test_missing_postgresql_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.local.databases.BINARIES", tmp_path)

    with pytest.raises(ProgramMissing, match="bin/initdb is not there"):
        postgres_program("initdb")


# --- one checkout, one run ------------------------------------------------------------


def test_a_second_run_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"

    with (
        exclusive(lock, "`make run`"),
        pytest.raises(Busy, match=f"already running here .pid {os.getpid()}."),
        exclusive(lock, "`make run`"),
    ):
        pass

    assert not is_held(lock)


def test_a_moved_checkout_is_refused_until_it_is_reset(tmp_path: Path) -> None:
    old = Layout(tmp_path / "old")
    old.root.mkdir()
    prepare_local(old)
    old.root.rename(tmp_path / "new")
    new = Layout(tmp_path / "new")

    with pytest.raises(MovedCheckout, match=r"made for .*old, and this is .*new"):
        prepare_local(new)
    assert not is_ours(new)

    reset(new, Progress())
    prepare_local(new)
    assert is_ours(new)


def test_the_reset_of_a_copy_leaves_the_original_running(tmp_path: Path) -> None:
    original = Layout(tmp_path / "original")
    original.root.mkdir()
    prepare_local(original)
    registry = ServiceRegistry(original.services)
    registry.ensure(a_service(original))
    copy = Layout(tmp_path / "copy")
    subprocess.run(  # noqa: S603
        ["/bin/cp", "-a", original.root, copy.root], check=True
    )

    down(copy, Progress())
    reset(copy, Progress())

    assert registry.running("sleeper") is not None
    assert list(copy.local.iterdir()) == []
    registry.stop("sleeper")


def test_stop_and_reset_with_nothing_there_do_nothing(tmp_path: Path) -> None:
    empty = Layout(tmp_path)

    down(empty, Progress())
    reset(empty, Progress())

    assert list(tmp_path.iterdir()) == []


# --- packages -------------------------------------------------------------------------


def test_only_what_is_missing_would_be_installed(tmp_path: Path) -> None:
    everything = missing_packages(tmp_path, "")
    assert {"python3", "postgresql", "libvirt-dev"} <= set(everything)

    left = missing_packages(
        tmp_path, "python3 installed\\npostgresql config-files\\ngcc installed\\n"
    )

    assert left == [name for name in everything if name not in {"python3", "gcc"}]
