"""linode-cli over HTTP as it comes from PyPI, told only another address and a token."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from instances.jobs import runner
from instances.models import ApiToken, Instance, Job, Plan, SSHKey
from tests.api.test_profile import KEY
from tests.builders import make_account, make_flag, make_token
from tests.simulated import SimulatedHypervisor

pytestmark = pytest.mark.django_db(transaction=True)
PROGRAM = Path(sys.executable).with_name("linode-cli")
# It wants one for any image, and this one has no use for it.
PASSWORD = "correct Horse"

Cli = Callable[..., Any]


@pytest.fixture
def run(
    live_server: Any,
    shop: dict[str, Plan],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[..., subprocess.CompletedProcess[str]]:
    # A connection that outlives its request would keep the test database from going.
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)
    account = make_account()
    make_flag(accounts=(account,))
    scheme, _, host = live_server.url.partition("://")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LINODE_CLI_API_HOST": host,
        "LINODE_CLI_API_SCHEME": scheme,
        "LINODE_CLI_API_VERSION": "v4",
        "LINODE_CLI_TOKEN": make_token(account),
        "LINODE_CLI_SUPPRESS_VERSION_WARNING": "1",
    }

    def run(*arguments: object, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 -- the program is ours to name
            [PROGRAM, *map(str, arguments)],
            env={**env, **changes},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture
def cli(run: Callable[..., subprocess.CompletedProcess[str]]) -> Cli:
    """Give a function that runs a command and returns its JSON: always a list of rows."""

    def cli(*arguments: object) -> Any:
        result = run(*arguments, "--json")
        assert result.returncode == 0, result.stderr or result.stdout
        return json.loads(result.stdout) if result.stdout.strip() else []

    return cli


def work(host: SimulatedHypervisor) -> None:
    """Do what a worker would: every open job, oldest first."""
    for job in Job.objects.order_by("pk"):
        runner.run(job.pk, connect_to=lambda uri: host)


def test_an_instance_lives_and_dies(
    cli: Cli, simulated_host: SimulatedHypervisor
) -> None:
    (gpu_type,) = cli("linodes", "types", "--class", "gpu")
    assert (gpu_type["id"], gpu_type["gpus"]) == ("g1-gpu-rtx6000-1", 1)
    assert [r["id"] for r in cli("regions", "list")] == ["ap-west", "us-east"]
    (image,) = cli("images", "list")
    assert cli("images", "view", image["id"])[0]["label"] == "GPU probe"

    (made,) = cli(
        *("linodes", "create", "--type", gpu_type["id"], "--region", "us-east"),
        *("--image", image["id"], "--root_pass", PASSWORD, "--label", "trainer"),
        *("--tags", "prod", "--tags", "blue"),
    )
    assert (made["status"], made["tags"]) == ("provisioning", ["prod", "blue"])
    work(simulated_host)
    (shown,) = cli("linodes", "view", made["id"])
    assert (shown["status"], shown["specs"]["gpus"]) == ("running", 1)

    (updated,) = cli(
        "linodes", "update", made["id"], "--label", "omega", "--tags", "blue"
    )
    assert (updated["label"], updated["tags"]) == ("omega", ["blue"])
    assert [row["id"] for row in cli("linodes", "list", "--label", "omega")] == [
        made["id"]
    ]
    assert cli("linodes", "list", "--label", "trainer") == []

    cli("linodes", "delete", made["id"])
    work(simulated_host)
    assert cli("linodes", "list") == []
    events = cli("events", "list")
    assert [e["action"] for e in events] == [
        *("linode_delete", "linode_update", "linode_boot", "linode_create"),
    ]
    assert cli("events", "view", events[0]["id"])[0]["status"] == "finished"
    cli("events", "mark-seen", events[0]["id"])
    assert [e["seen"] for e in cli("events", "list")] == [True] * 4


def test_linodes_of_a_group_are_kept_apart(cli: Cli) -> None:
    (group,) = cli(
        *("placement", "group-create", "--label", "apart", "--region", "us-east"),
        *("--placement_group_type", "anti_affinity:local"),
        *("--placement_group_policy", "strict"),
    )
    (made,) = cli(
        *("linodes", "create", "--type", "g1-gpu-rtx6000-1", "--region", "us-east"),
        *("--image", "gpucloud/probe", "--root_pass", PASSWORD),
        *("--placement_group.id", group["id"]),
    )
    assert made["placement_group"]["label"] == "apart"
    member = ("--linodes", made["id"])
    (without,) = cli("placement", "unassign-linode", group["id"], *member)
    (within,) = cli("placement", "assign-linode", group["id"], *member)
    assert (without["members"], within["members"]) == (
        [],
        [{"linode_id": made["id"], "is_compliant": True}],
    )
    assert cli("placement", "groups-list", "--label", "apart") == [within]


def test_keys_and_tokens(cli: Cli) -> None:
    (made,) = cli("sshkeys", "create", "--label", "laptop", "--ssh_key", KEY)
    assert made["ssh_key"] == KEY
    (renamed,) = cli("sshkeys", "update", made["id"], "--label", "desk")
    assert cli("sshkeys", "list") == [renamed] == cli("sshkeys", "view", made["id"])
    cli("sshkeys", "delete", made["id"])
    assert not SSHKey.objects.exists()

    (token,) = cli(
        *("profile", "token-create", "--label", "script"),
        *("--scopes", "linodes:read_only", "--expiry", "2199-01-31T12:00:00"),
    )
    assert (len(token["token"]), token["expiry"]) == (64, "2199-01-31T12:00:00")
    (view,) = cli("profile", "token-view", token["id"])
    assert view == {**token, "token": token["token"][:8]}
    cli("profile", "token-update", token["id"], "--label", "cron")
    assert [t["label"] for t in cli("profile", "tokens-list")] == ["test", "cron"]
    cli("profile", "token-delete", token["id"])
    assert ApiToken.objects.get(pk=token["id"]).revoked_at is not None


def test_the_account(cli: Cli) -> None:
    (account,) = cli("account", "view")
    assert account["capabilities"] == [
        "Linodes",
        "GPU Linodes",
        "Cloud Firewall",
        "Placement Group",
    ]
    (changed,) = cli("account", "update", "--email", "pay@example.net")
    assert changed == {**account, "email": "pay@example.net"}
    assert [r["region"] for r in cli("account", "get-availability")] == [
        "ap-west", "us-east",
    ]  # fmt: skip
    (there,) = cli("account", "get-account-availability", "us-east")
    assert "GPU Linodes" in there["available"]
    assert cli("account", "settings")[0]["object_storage"] == "disabled"
    assert cli("account", "maintenance-list") == []
    assert cli("account", "notifications-list") == []
    (user,) = cli("users", "list")
    assert cli("users", "view", user["username"]) == [user]
    assert cli("profile", "view")[0]["username"] == user["username"]


def test_tags(cli: Cli) -> None:
    (made,) = cli(
        *("linodes", "create", "--type", "g6-standard-2", "--region", "us-east"),
        *("--image", "gpucloud/probe", "--root_pass", PASSWORD),
    )
    cli("tags", "create", "--label", "prod", "--linodes", made["id"])
    cli("tags", "create", "--label", "alone")
    assert cli("tags", "list") == [{"label": "alone"}, {"label": "prod"}]
    (carried,) = cli("tags", "get-tagged-objects", "prod")
    assert (carried["type"], carried["data"]["id"]) == ("linode", made["id"])
    cli("tags", "delete", "prod")
    assert Instance.objects.get().tags == []


def test_what_is_refused_is_said(
    run: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    bad = run(
        *("linodes", "create", "--type", "g9", "--region", "mars"),
        *("--image", "gpucloud/probe", "--root_pass", PASSWORD),
    )
    assert bad.returncode == 2
    assert "A valid plan type by that ID was not found" in bad.stderr
    assert "region is not valid" in bad.stderr
    gone = run("linodes", "view", 1)
    assert (gone.returncode, "Not found" in gone.stderr) == (2, True)
    wrong = run("linodes", "list", LINODE_CLI_TOKEN="0" * 64)
    assert wrong.returncode == 2
    assert "Invalid Token" in wrong.stderr


def test_power_and_rebuild_as_the_cli_asks_for_them(
    cli: Cli,
    run: Callable[..., subprocess.CompletedProcess[str]],
    simulated_host: SimulatedHypervisor,
    settings: Settings,
) -> None:
    settings.SHUTDOWN_GRACE_S = 0
    (made,) = cli(
        *("linodes", "create", "--type", "g1-gpu-rtx6000-1", "--region", "us-east"),
        *("--image", "gpucloud/probe", "--root_pass", PASSWORD, "--booted", "false"),
    )
    work(simulated_host)
    linode = str(made["id"])
    assert cli("linodes", "view", linode)[0]["status"] == "offline"
    for verb, status in (("boot", "running"), ("reboot", "running")):
        cli("linodes", verb, linode)
        work(simulated_host)
        assert cli("linodes", "view", linode)[0]["status"] == status
    cli("linodes", "shutdown", linode)
    busy = run("linodes", "boot", linode)
    assert busy.returncode != 0
    assert "Linode busy." in busy.stdout + busy.stderr
    work(simulated_host)
    (shown,) = cli(
        *("linodes", "rebuild", linode, "--image", "gpucloud/probe"),
        *("--root_pass", PASSWORD),
    )
    assert (shown["id"], shown["status"]) == (made["id"], "rebuilding")
    work(simulated_host)
    cli("linodes", "update", linode, "--watchdog_enabled", "false")
    (shown,) = cli("linodes", "view", linode)
    assert (shown["status"], shown["watchdog_enabled"]) == ("running", False)
    assert cli("linodes", "disks-list", linode) == []
    assert cli("linodes", "configs-list", linode) == []
