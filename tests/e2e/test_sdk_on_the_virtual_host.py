"""A short life by linode_api4 on real libvirt, QEMU and vfio, its cards' checks included."""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from linode_api4 import Instance, LinodeClient

from tests.e2e.conftest import Stack
from tests.e2e.test_launch_on_the_virtual_host import LAUNCH_S, Customer

pytestmark = [pytest.mark.e2e, pytest.mark.gpuhost]
# The SDK wants one for any image, and this one has no use for it.
PASSWORD = "correct Horse"


@pytest.fixture
def client(stack: Stack) -> Iterator[LinodeClient]:
    """Give an employee's SDK; whatever is left running afterwards is deleted."""
    plain = Customer(stack, "employee")
    client = LinodeClient(stack.tokens["employee"], base_url=f"{stack.url}/v4")
    yield client
    for linode in client.linode.instances():
        linode.delete()
        plain.wait_gone(linode.id)
    client.session.close()


def made(stack: Stack, client: LinodeClient) -> Instance:
    """Create an instance with one GPU and poll until it runs."""
    stack.wait_for_cards()
    poller = client.polling.event_poller_create("linode", "linode_boot")
    linode = client.linode.instance_create(
        "lab-gpu-rtx6000-1", "us-east", image="gpucloud/probe", root_pass=PASSWORD
    )
    poller.set_entity_id(linode.id)
    poller.wait_for_next_event_finished(timeout=LAUNCH_S, interval=1)
    linode.invalidate()
    assert linode.status == "running"
    return linode


def deleted(stack: Stack, linode: Instance) -> None:
    linode.delete()
    Customer(stack, "employee").wait_gone(linode.id)


def attested(client: LinodeClient, linode: Instance) -> dict[str, Any]:
    """Return what is attested of its one GPU, once the digest was made again."""
    told = client.get(f"/gpucloud/instances/{linode.id}/attestation")
    digest = told.pop("digest")
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == digest
    (gpu,) = told["gpus"]
    return dict(gpu)


def test_sdk_asks_a_running_guest_for_its_topology_and_attestation(
    stack: Stack, client: LinodeClient
) -> None:
    first = made(stack, client)
    topology = client.get(f"/gpucloud/instances/{first.id}/topology")
    (gpu,) = client.get(f"/gpucloud/instances/{first.id}/gpus")["data"]
    console = Customer(stack, "employee").console(first.id)

    (node,) = topology["nodes"]
    assert (topology["vcpus"], topology["memory_mib"]) == (
        first.specs.vcpus,
        first.specs.memory,
    )
    assert [pin["vcpu"] for pin in node["pins"]] == list(range(first.specs.vcpus))
    assert node["gpus"] == [{"id": gpu["id"], "pci_address": gpu["pci_address"]}]
    (seen,) = re.findall(r"GPU-SEEN 10de:1e30 .* at (\S+)", console)
    assert gpu["pci_address"] == f"0000:{seen}"
    before = attested(client, first)
    # A module before this one may have had the card without its checks.
    assert before["id"] == gpu["id"]
    deleted(stack, first)

    # All are free again: the next guest gets the same card, and proof of what was done.
    second = made(stack, client)
    after = attested(client, second)
    assert (after["id"], after["was_used"]) == (gpu["id"], True)
    assert after["is_tested"]
    wiped, tested = after["checks"]
    assert (wiped["kind"], wiped["result"]) == ("wipe", "passed")
    assert (tested["kind"], tested["result"]) == ("test", "passed")
    assert wiped["bytes"] == tested["bytes"] > 0
    assert len(wiped["console_digest"]) == len(tested["console_digest"]) == 64
    assert wiped["begin"] >= before["since"]
    deleted(stack, second)
