"""linode_api4 and linode-cli against the running stack; nothing is theirs but the URL.

Whoever waits polls as the clients do: what is seen on the way is what a customer sees.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from linode_api4 import (
    ApiError,
    Event,
    Firewall,
    Instance,
    LinodeClient,
    OAuthScopes,
    Type,
)
from linode_api4.objects.filtering import limit, or_, order_by

from tests.api.test_profile import KEY
from tests.compat.conftest import Stack

pytestmark = pytest.mark.compat
PASSWORD = "Sonnenblume-7"
CLI = Path(sys.executable).with_name("linode-cli")
PATIENCE_S = 60
Cli = Callable[..., Any]


@pytest.fixture
def client(stack: Stack) -> Iterator[LinodeClient]:
    made = LinodeClient(stack.tokens["compat"], base_url=f"{stack.url}/v4")
    yield made
    for linode in made.linode.instances():
        with contextlib.suppress(ApiError):
            linode.delete()
    until(stack, lambda: len(made.linode.instances()) == 0, "all are deleted")
    made.session.close()


@pytest.fixture
def cli(stack: Stack, tmp_path: Path, client: LinodeClient) -> Cli:
    """Give a function that runs a command and returns its rows; `client` clears up."""
    scheme, _, host = stack.url.partition("://")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LINODE_CLI_API_HOST": host,
        "LINODE_CLI_API_SCHEME": scheme,
        "LINODE_CLI_API_VERSION": "v4",
        "LINODE_CLI_TOKEN": stack.tokens["compat"],
        "LINODE_CLI_SUPPRESS_VERSION_WARNING": "1",
    }

    def cli(*arguments: object) -> Any:
        result = subprocess.run(  # noqa: S603 -- the program is ours to name
            [CLI, *map(str, arguments), "--json"],
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert result.returncode == 0, result.stderr or result.stdout
        return json.loads(result.stdout) if result.stdout.strip() else []

    return cli


def until(stack: Stack, is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S + 3 * stack.start_s
    while not is_so():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.1)


def statuses(stack: Stack, linode: Instance, last: str) -> list[str]:
    """Poll until the status is `last`; return each that was seen, once."""
    seen: list[str] = []

    def is_last() -> bool:
        linode.invalidate()
        if linode.status not in seen[-1:]:
            seen.append(linode.status)
        return bool(linode.status == last)

    until(stack, is_last, f"{last} after {seen}")
    return seen


def create(client: LinodeClient, **fields: Any) -> Instance:
    values = {"image": "linode/debian12", "root_pass": PASSWORD, **fields}
    ltype = values.pop("ltype", "g6-nanode-1")
    return client.linode.instance_create(ltype, "us-ord", **values)


def test_sdk_leads_an_instance_through_its_life(
    stack: Stack, client: LinodeClient
) -> None:
    sold = client.linode.types(Type.type_class == "gpu", Type.gpus == 2)
    gpu = next(t for t in sold if t.disk)
    region = next(r for r in client.regions() if "GPU Linodes" in r.capabilities)
    poller = client.polling.event_poller_create("linode", "linode_create")

    linode = client.linode.instance_create(
        gpu,
        region,
        image=next(i for i in client.images() if i.id == "linode/debian12"),
        label="trainer",
        tags=["prod"],
        authorized_keys=[KEY],
        root_pass=PASSWORD,
    )

    assert (linode.status, linode.specs.gpus) == ("provisioning", 2)
    seen = statuses(stack, linode, "running")
    # The host takes its time to start it, as hosts do.
    assert seen[-2:] == ["booting", "running"]
    poller.set_entity_id(linode.id)
    event = poller.wait_for_next_event_finished(timeout=PATIENCE_S, interval=1)
    assert (event.status, event.percent_complete) == ("finished", 100)
    assert (event.entity.id, event.entity.url) == (
        linode.id,
        f"/v4/linode/instances/{linode.id}",
    )
    assert linode.ips.ipv4.public[0].address == linode.ipv4[0]

    linode.label, linode.tags = "omega", ["prod", "blue"]
    assert linode.save()
    assert client.load(Instance, linode.id).tags == ["prod", "blue"]
    assert linode.delete()
    until(stack, lambda: is_gone(client, linode.id), "it is gone")
    (deleted,) = (
        event
        for event in client.account.events(Event.action == "linode_delete")
        if event.entity.id == linode.id
    )
    until(
        stack,
        lambda: client.load(Event, deleted.id).status == "finished",
        "its delete is finished",
    )
    actions = [e.action for e in events_of(client, linode)]
    assert actions == [
        *("linode_delete", "linode_update", "linode_boot", "linode_create")
    ]
    client.account.events_mark_seen(deleted)
    assert client.load(Event, deleted.id).seen


def test_sdk_sees_every_verb_at_work(stack: Stack, client: LinodeClient) -> None:
    linode = create(client, ltype="g6-standard-1")
    statuses(stack, linode, "running")

    def after(verb: Callable[[], object], last: str = "running") -> list[str]:
        assert verb() is not False
        seen = statuses(stack, linode, last)
        # It shows the state that it comes to before its job has ended.
        until(stack, lambda: last_event(client, linode) == "finished", "it is done")
        return seen

    assert after(linode.shutdown, "offline")[-1] == "offline"
    assert after(lambda: linode.reset_instance_root_password(PASSWORD), "offline") == [
        "offline"
    ]
    assert after(linode.boot) == ["booting", "running"]
    assert after(linode.reboot) == ["rebooting", "running"]
    assert after(lambda: linode.resize("g6-standard-4")) == ["resizing", "running"]
    assert (linode.type.id, linode.specs.vcpus) == ("g6-standard-4", 4)
    assert [disk.size for disk in linode.disks] == [163840]
    rebuilt = after(lambda: linode.rebuild("linode/ubuntu24.04", root_pass=PASSWORD))
    assert rebuilt == ["rebuilding", "running"]
    assert linode.image.id == "linode/ubuntu24.04"
    actions = [e.action for e in events_of(client, linode)]
    assert actions == [
        *("linode_rebuild", "linode_resize", "linode_reboot", "linode_boot"),
        *("password_reset", "linode_shutdown", "linode_boot", "linode_create"),
    ]
    for verb, told in (
        (lambda: linode.resize("g6-standard-4"), "already running this service plan."),
        (lambda: linode.resize("g6-nanode-1"), "allocated more disk than the new"),
    ):
        with pytest.raises(ApiError) as refused:
            verb()
        assert told in refused.value.errors[0]


def last_event(client: LinodeClient, linode: Instance) -> str:
    return str(next(events_of(client, linode)).status)


def events_of(client: LinodeClient, linode: Instance) -> Iterator[Event]:
    """Give the events about a Linode, newest first; a firewall may have the same id."""
    about = ("linode", linode.id)
    return (e for e in client.account.events() if (e.entity.type, e.entity.id) == about)


def is_gone(client: LinodeClient, linode_id: int) -> bool:
    found = list(client.linode.instances(Instance.id == linode_id))
    if found:
        return False
    with pytest.raises(ApiError) as gone:
        client.load(Instance, linode_id)
    assert (gone.value.status, gone.value.errors) == (404, ["Not found"])
    return True


def test_sdk_lists_filters_and_pages(client: LinodeClient) -> None:
    for label, tag in (("alpha", "prod"), ("beta", "test"), ("gamma", "prod")):
        create(client, label=label, tags=[tag])

    def labels(*filters: Any) -> list[str]:
        return [linode.label for linode in client.linode.instances(*filters)]

    assert labels() == ["alpha", "beta", "gamma"]
    assert labels(Instance.tags == "prod") == ["alpha", "gamma"]
    assert labels(or_(Instance.label == "beta", Instance.label.contains("mm"))) == [
        *("beta", "gamma")
    ]
    assert labels(order_by(Instance.label, desc=True)) == ["gamma", "beta", "alpha"]
    assert labels(limit(2)) == ["alpha", "beta"]
    client.page_size = 25
    assert next(t.id for t in client.linode.types()) == "g6-nanode-1"
    assert [t.id for t in client.linode.types() if t.region_prices] == ["g6-standard-1"]
    with pytest.raises(ApiError) as refused:
        labels(Instance.hypervisor == "kvm")
    assert refused.value.status == 400


def test_sdk_is_told_what_is_wrong(stack: Stack, client: LinodeClient) -> None:
    with pytest.raises(ApiError) as bad:
        client.linode.instance_create("g6-fake-plan", "us-fakeregion")
    assert str(bad.value) == (
        "POST /v4/linode/instances: [400] "
        "type: A valid plan type by that ID was not found; region: region is not valid"
    )
    with pytest.raises(ApiError) as bare:
        client.post(
            "/linode/instances",
            data={
                "type": "g6-nanode-1",
                "region": "us-ord",
                "image": "linode/debian12",
            },
        )
    assert bare.value.errors == [
        "Must provide valid root_pass, authorized_keys, or authorized_users"
    ]
    linode = create(client)
    stranger = LinodeClient(stack.tokens["stranger"], base_url=f"{stack.url}/v4beta")
    for call in (stranger.get, stranger.delete):
        with pytest.raises(ApiError) as hidden:
            call(f"/linode/instances/{linode.id}")
        assert (hidden.value.status, hidden.value.errors) == (404, ["Not found"])
    assert list(stranger.linode.instances()) == []
    stranger.session.close()
    assert linode.delete()
    with pytest.raises(ApiError) as busy:
        client.delete(f"/linode/instances/{linode.id}")
    assert (busy.value.status, busy.value.errors) == (400, ["Linode busy."])


def test_sdk_keeps_keys_and_tokens(client: LinodeClient) -> None:
    key = client.profile.ssh_key_upload(KEY, "laptop")
    key.label = "desk"
    assert key.save()
    assert [k.label for k in client.profile.ssh_keys()] == ["desk"]
    assert key.delete()

    token = client.profile.token_create(
        "script", scopes=OAuthScopes.serialize([OAuthScopes.Linodes.read_only])
    )
    narrow = LinodeClient(token.token, base_url=client.base_url, retry=False)
    assert list(narrow.linode.instances()) == []
    for refused_call in (
        lambda: narrow.profile.token_create("more"),
        lambda: create(narrow),
    ):
        with pytest.raises(ApiError) as refused:
            refused_call()
        assert (refused.value.status, refused.value.errors) == (
            401,
            ["Your OAuth token is not authorized to use this endpoint."],
        )
    assert token.delete()
    with pytest.raises(ApiError) as invalid:
        narrow.linode.instances()
    assert (invalid.value.status, invalid.value.errors) == (401, ["Invalid Token"])
    narrow.session.close()


# As linode_api4's and linode-cli's own tests have it, before anything else.
INBOUND = [
    {
        "ports": "22",
        "protocol": "TCP",
        "addresses": {"ipv4": ["198.51.100.1/32"], "ipv6": ["2001:db8::1/128"]},
        "action": "ACCEPT",
    }
]
RULES = {
    "inbound": INBOUND,
    "inbound_policy": "DROP",
    "outbound": [],
    "outbound_policy": "ACCEPT",
}


def test_sdk_keeps_a_linode_behind_a_firewall(
    stack: Stack, client: LinodeClient
) -> None:
    firewall = client.networking.firewall_create("sdk-fw", RULES, status="enabled")
    assert (firewall.status, firewall.rules.inbound_policy) == ("enabled", "DROP")
    linode = create(client, firewall=firewall)
    assert [each.id for each in linode.firewalls()] == [firewall.id]
    statuses(stack, linode, "running")

    firewall.update_rules({**RULES, "inbound": [], "inbound_policy": "ACCEPT"})
    assert client.load(Firewall, firewall.id).rules.inbound_policy == "ACCEPT"
    (device,) = client.load(Firewall, firewall.id).devices
    assert device.entity.url == f"/v4/linode/instances/{linode.id}"
    assert device.delete()
    assert linode.firewalls() == []
    assert firewall.device_create(linode.id).entity.id == linode.id
    firewall.label, firewall.status, firewall.tags = "sdk-fw-2", "disabled", ["prod"]
    assert firewall.save()
    # What is done to its firewall never makes a Linode busy.
    assert linode.reboot()
    statuses(stack, linode, "running")
    assert firewall.delete()
    told = client.account.events(order_by(Event.created, desc=True))
    kinds = [e.action for e in told if e.action.startswith("firewall")]
    assert kinds[:6] == [
        *("firewall_delete", "firewall_update", "firewall_disable"),
        *("firewall_device_add", "firewall_device_remove", "firewall_rules_update"),
    ]


def test_cli_keeps_a_linode_behind_a_firewall(cli: Cli, client: LinodeClient) -> None:
    (made,) = cli(
        *("firewalls", "create", "--label", "cli-fw"),
        *("--rules.inbound_policy", "DROP", "--rules.outbound_policy", "ACCEPT"),
        *("--rules.inbound", json.dumps(INBOUND)),
    )
    linode = create(client)
    on = ("--id", linode.id, "--type", "linode")
    (device,) = cli("firewalls", "device-create", made["id"], *on)
    (rules,) = cli("firewalls", "rules-update", made["id"], "--inbound", "[]")
    assert (rules["inbound"], rules["version"]) == ([], 2)
    assert [row["id"] for row in cli("linodes", "firewalls-list", linode.id)] == [
        made["id"]
    ]
    assert cli("firewalls", "list", "--label", "cli-fw")[0]["status"] == "enabled"
    cli("firewalls", "device-delete", made["id"], device["id"])
    cli("firewalls", "delete", made["id"])


def test_cli_leads_an_instance_through_its_life(stack: Stack, cli: Cli) -> None:
    (made,) = cli(
        *("linodes", "create", "--type", "g6-nanode-1", "--region", "us-east"),
        *("--image", "linode/debian12", "--root_pass", PASSWORD),
        *("--label", "web", "--tags", "prod", "--tags", "blue"),
    )
    assert (made["status"], made["tags"]) == ("provisioning", ["prod", "blue"])

    def status() -> str:
        return str(cli("linodes", "view", made["id"])[0]["status"])

    until(stack, lambda: status() == "running", "it runs")
    cli("linodes", "update", made["id"], "--label", "omega")
    cli("linodes", "shutdown", made["id"])
    until(stack, lambda: status() == "offline", "it is off")
    cli("linodes", "boot", made["id"])
    until(stack, lambda: status() == "running", "it runs again")
    cli("linodes", "reboot", made["id"])
    until(stack, lambda: status() == "running", "it was rebooted")
    assert [row["id"] for row in cli("linodes", "list", "--label", "omega")] == [
        made["id"]
    ]
    cli("linodes", "delete", made["id"])
    until(stack, lambda: cli("linodes", "list") == [], "it is gone")
    events = [
        e
        for e in cli("events", "list")
        if (e["entity"]["type"], e["entity"]["id"]) == ("linode", made["id"])
    ]
    assert [e["action"] for e in events] == [
        *("linode_delete", "linode_reboot", "linode_boot", "linode_shutdown"),
        *("linode_update", "linode_boot", "linode_create"),
    ]


def test_cli_keeps_keys_and_tokens(cli: Cli) -> None:
    (key,) = cli("sshkeys", "create", "--label", "laptop", "--ssh_key", KEY)
    cli("sshkeys", "delete", key["id"])
    (token,) = cli(
        *("profile", "token-create", "--label", "script"),
        *("--scopes", "linodes:read_only", "--expiry", "2199-01-31T12:00:00"),
    )
    assert cli("profile", "token-view", token["id"])[0]["token"] == token["token"][:8]
    cli("profile", "token-delete", token["id"])
