"""The last release's code works beside this one's while the schema changes under it.

One database and one simulated host live through a release as docs/release.md makes it: old
processes with jobs in flight, `migrate`, new web beside old workers, old web beside new ones.
"""

import json
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from django.conf import settings

from deploy.local.databases import create_database, drop_database, run_sql
from tests.clusters import (
    NEVER_S,
    cluster,
    environment,
    eventually,
    web,
)
from tests.releases import last_release, unpack
from tests.simulated_hosts import HostStore

NEW = settings.BASE_DIR
# One process for several commands: Django's start takes longer than most of them.
COMMANDS = """
import json, sys, django
django.setup()
from django.core.management import call_command
for words in json.loads(sys.argv[1]):
    call_command(*words)
"""
LAB = {
    "staff": {"username": "boss", "password": secrets.token_hex(8)},
    "tokens": {
        name: secrets.token_hex(32)
        for name in ("employee", "customer", "customer2", "no_gpu")
    },
}
ORDER = {"type": "lab-gpu-rtx6000-1", "region": "us-east", "image": "gpucloud/probe"}
# SQL: a job has not ended, and one of an instance is at work.
OPEN = "state NOT IN ('succeeded', 'failed', 'cancelled')"
AT_WORK = "state = 'running' AND card_id IS NULL"
# Lines of logs that tell of no trouble: pattern -> why.
ACCEPTED = {
    r"Not Found: /v4/linode/instances/\d+": "asked for until it was gone",
    r"Function instances\.tasks\.\w+ is not defined": "a schedule that new workers brought "
    "while the old ones still took tasks; it is due again",
}


@dataclass
class Upgrade:
    """A database and a host that code of two releases works with. old: the code's folder."""

    old: Path
    folder: Path
    env: dict[str, str]
    store: HostStore
    logs: list[Path] = field(default_factory=list)

    def run(self, root: Path, *words: str, stdin: str = "") -> str:
        ended = subprocess.run(  # noqa: S603 -- our own code
            [sys.executable, *words],
            cwd=root,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, (words, ended.stdout, ended.stderr)
        return ended.stdout

    def manage(self, root: Path, *commands: list[str], stdin: str = "") -> str:
        return self.run(root, "-c", COMMANDS, json.dumps(commands), stdin=stdin)

    def log(self, name: str) -> Path:
        self.logs.append(self.folder / f"{name}.log")
        return self.logs[-1]

    def jobs(self, which: str) -> int:
        """Return how many jobs there are of which this SQL is true."""
        told = f"SELECT count(*) FROM instances_job WHERE {which};"  # noqa: S608
        return int(run_sql(self.env["DATABASE_URL"], told))

    def wait_until_idle(self) -> None:
        """Return when no job of an instance or a card is open."""
        eventually(lambda: self.jobs(OPEN) == 0, "all jobs have ended")

    def wait_until_at_work(self) -> None:
        """Return when two jobs are at the host. A worker may look at the host itself."""
        eventually(lambda: self.jobs(AT_WORK) >= 2, "jobs are at the host")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the host answer nobody meanwhile: what is at it stays in flight."""
        with self.store.host():
            yield


@dataclass(frozen=True)
class Shop:
    """A web server, as a customer and staff use it."""

    address: str

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        token = f"Bearer {LAB['tokens']['customer']}"
        return requests.request(
            method,
            f"{self.address}/v4{path}",
            json=body,
            headers={"Authorization": token},
            timeout=60,
        )

    def create(self) -> str:
        made = self.ask("POST", "/linode/instances", ORDER)
        assert made.status_code == 200, made.text
        return f"/linode/instances/{made.json()['id']}"

    def delete(self, path: str) -> None:
        answer = self.ask("DELETE", path)
        assert answer.status_code == 200, answer.text

    def status(self, path: str) -> str:
        answer = self.ask("GET", path)
        return answer.json()["status"] if answer.ok else f"{answer.status_code}"

    def comes_to(self, status: str, *paths: str) -> None:
        for path in paths:
            what = f"{path} is {status}, not {self.status(path)}"
            eventually(lambda path=path: self.status(path) == status, what)  # type: ignore[misc]

    def everything(self) -> dict[str, int]:
        """Return path -> status of all that can be read without an id."""
        paths = self.ask("GET", "/openapi.json").json()["paths"]
        read = [path for path in paths if "get" in paths[path] and "{" not in path]
        assert len(read) > 20
        return {p: self.ask("GET", p.removeprefix("/v4")).status_code for p in read}

    def staff_pages(self) -> dict[str, int]:
        """Log in as staff, and return path -> status of pages that show most."""
        browser, login = requests.Session(), f"{self.address}/admin/login/"
        browser.get(login, timeout=60)
        form = {**LAB["staff"], "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        browser.post(login, form, timeout=60)
        pages = (
            *("", "launch/", "instances/instance/", "instances/job/", "flags/flag/"),
            *("inventory/host/", "inventory/card/", "inventory/region/"),
        )
        found = {}
        for page in pages:
            shown = browser.get(f"{self.address}/admin/{page}", timeout=60)
            found[page] = shown.status_code if shown.url.endswith(page) else 302
        return found


class Readers:
    """A customer who reads on and on; what was not answered is kept."""

    def __init__(self, shop: Shop) -> None:
        self._shop, self._stopped = shop, threading.Event()
        self.answered, self.failed = 0, list[tuple[str, int, str]]()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> "Readers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _read(self) -> None:
        paths = ("/linode/instances", "/linode/types", "/regions/availability")
        while not self._stopped.is_set():
            for path in (*paths, "/account/events", "/gpucloud/inventory"):
                answer = self._shop.ask("GET", path)
                self.answered += 1
                if answer.status_code != 200:
                    self.failed.append((path, answer.status_code, answer.text))


@pytest.fixture
def upgrade(tmp_path: Path) -> Iterator[Upgrade]:
    """Give a fleet as the old release made it, on its own schema."""
    old, commit = tmp_path / "old", last_release().commit
    if not unpack(commit, old):
        pytest.skip(
            f"the last release, {commit[:8]}, is not in this clone: is it a shallow one?"
        )
    name = f"previous_release_{os.getpid()}"
    url = create_database(os.environ["DATABASE_URL"], name)
    hosts = tmp_path / "hosts"
    env = environment(
        hosts,
        DATABASE_URL=url,
        GPUCLOUD_API_RATE_LIMIT="0",
        GPUCLOUD_WORKERS="4",
        # The host is held still for as long as the migrations take.
        GPUCLOUD_CLUSTER_PATIENCE_S="60",
    )
    made = Upgrade(old, tmp_path, env, HostStore(hosts, "sim1"))
    try:
        begun = (["migrate", "-v0"], ["load_catalogue", "--lab"], ["bootstrap_lab"])
        made.manage(old, *begun, stdin=json.dumps(LAB))
        made.run(old, "-m", "tests.simulated_hosts", "1", "--board", "2x4")
        yield made
    finally:
        drop_database(os.environ["DATABASE_URL"], name)


def test_code_of_the_last_release_works_on_the_schema_of_this_one(
    upgrade: Upgrade,
) -> None:
    env, old = upgrade.env, upgrade.old
    with (
        web(env, upgrade.log("old-web"), old) as address,
        cluster(env, upgrade.log("old-workers"), old) as old_workers,
    ):
        old_shop = Shop(address)
        ran = old_shop.create()
        old_shop.comes_to("running", ran)
        guests = migrated_amid_work(upgrade, old_shop, ran)
        assert_all_answers(old_shop)
        guests = one_more_one_less(old_shop, guests)
        with web(env, upgrade.log("new-web")) as address, ExitStack() as later:
            new_shop = Shop(address)
            # Old workers do what the new web asks for.
            guests = one_more_one_less(new_shop, guests)
            upgrade.wait_until_idle()
            # They end amid a launch and a delete, which the new ones bring to an end.
            with upgrade.held():
                guests = one_more_one_less(old_shop, guests, is_done=False)
                upgrade.wait_until_at_work()
                later.enter_context(cluster(env, upgrade.log("new-workers")))
                old_workers.process.terminate()
            assert old_workers.process.wait(NEVER_S) == 0
            old_shop.comes_to("running", *guests)
            # New workers do what the old web asks for.
            guests = one_more_one_less(old_shop, guests)
            assert_all_answers(old_shop)
            for path in guests:
                new_shop.delete(path)
            new_shop.comes_to("404", *guests)
            upgrade.wait_until_idle()

    assert upgrade.jobs("state = 'failed'") == 0
    # What old workers made is in new eyes as it should be.
    upgrade.manage(NEW, ["verify_ledger"], ["verify_usage"], ["reconcile"])
    assert troubles(upgrade.logs) == []


def migrated_amid_work(upgrade: Upgrade, shop: Shop, ran: str) -> list[str]:
    """Change the schema while jobs are at the host, others wait, and a customer reads.

    ran: what is deleted meanwhile. Returns what is made meanwhile, and runs.
    """
    with upgrade.held(), Readers(shop) as readers:
        made = [shop.create() for _ in range(3)]
        shop.delete(ran)
        upgrade.wait_until_at_work()
        upgrade.manage(NEW, ["migrate", "-v0"])
        assert upgrade.jobs(AT_WORK) >= 2
    assert readers.answered > 0
    assert readers.failed == []
    shop.comes_to("404", ran)
    shop.comes_to("running", *made)
    return made


def one_more_one_less(
    shop: Shop, guests: list[str], *, is_done: bool = True
) -> list[str]:
    """Ask for a launch and a delete, whatever workers there are; return what is left."""
    first, *others = guests
    made = shop.create()
    shop.delete(first)
    if is_done:
        shop.comes_to("404", first)
        shop.comes_to("running", made)
    return [*others, made]


def assert_all_answers(shop: Shop) -> None:
    assert set(shop.everything().values()) == {200}
    assert set(shop.staff_pages().values()) == {200}


def troubles(logs: list[Path]) -> list[str]:
    """Return the lines of the logs that tell of an error which was not foreseen."""
    lines = [
        f"{log.stem}: {line}"
        for log in logs
        for line in log.read_text(encoding="utf-8").splitlines()
    ]
    told = [line for line in lines if re.search(r"WARNING|ERROR|CRITICAL", line)]
    return [line for line in told if not any(re.search(a, line) for a in ACCEPTED)]


def test_release_is_named_with_its_own_newest_migrations(tmp_path: Path) -> None:
    release = last_release()
    if not unpack(release.commit, tmp_path):
        pytest.skip(f"the last release, {release.commit[:8]}, is not in this clone")
    for app, newest in release.migrations.items():
        assert (tmp_path / app / "migrations" / f"{newest}.py").exists()
