"""Guests with disks, seeds and addresses of their own, over real HTTP, libvirt and QEMU."""

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest
from lxml import etree

from inventory.hypervisor.supervised import SupervisedHypervisor
from tests.e2e.conftest import Stack
from tests.e2e.observing import eventually
from tests.e2e.test_launch_on_the_virtual_host import Customer, rows

pytestmark = [pytest.mark.e2e, pytest.mark.gpuhost]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMzm9Xf0hgqTmJ1mIkMIxLhJcM1hL1yo8u6cX1yWq0aB"
PASSWORD = "Sonnenblume-7"
USER_DATA = b"#!/bin/sh\ntouch /root/was-here\n"
DHCP_CLIENT = 68
DISK_SECTORS = 64 * 2048
IMAGES, DISKS = "gpucloud-images", "gpucloud-disks"


@pytest.fixture
def employee(stack: Stack) -> Iterator[Customer]:
    customer = Customer(stack, "employee")
    yield customer
    _, listed = customer.call("GET", "/v4/linode/instances")
    for instance in listed["data"]:
        customer.call("DELETE", f"/v4/linode/instances/{instance['id']}")
        customer.wait_gone(instance["id"])


@pytest.fixture
def hypervisor(stack: Stack) -> Iterator[SupervisedHypervisor]:
    connection = SupervisedHypervisor(stack.hosts[0].libvirt_uri)
    yield connection
    connection.close()


def create(customer: Customer, label: str, **fields: Any) -> dict[str, Any]:
    status, instance = customer.call(
        "POST",
        "/v4/linode/instances",
        {
            "type": "lab-standard-1",
            "region": "us-east",
            "image": "gpucloud/tiny",
            "label": label,
            "authorized_keys": [KEY],
            "root_pass": PASSWORD,
            "metadata": {"user_data": base64.b64encode(USER_DATA).decode()},
            **fields,
        },
    )
    assert status == 200, instance
    return dict(instance)


def uuid_of(stack: Stack, instance: dict[str, Any]) -> str:
    return str(rows(stack, f"str(Instance.objects.get(pk={instance['id']}).uuid)"))


def assert_guest_read_its_seed(console: str, label: str, address: str) -> None:
    for line in (
        f"TINY-UP sectors={DISK_SECTORS}",
        "TINY-BOOTS 1\r",
        f"TINY-META local-hostname: {label.replace('_', '-')}",
        f"TINY-META - {KEY}",
        f"TINY-NETWORK     - {address}/24",
        f"TINY-USER-DATA bytes={len(USER_DATA)}",
        "TINY-PASSWORD hash",
    ):
        assert line in console


def assert_on_the_guests_network(document: str, uuid: str) -> None:
    (card,) = etree.fromstring(document).findall("devices/interface")
    assert card.find("source").get("network") == "gpucloud"
    assert card.find("filterref").get("filter") == f"gpucloud-{uuid}"


def lets_in(port: int) -> dict[str, Any]:
    rule = {
        "protocol": "TCP",
        "ports": str(port),
        "addresses": {"ipv4": ["0.0.0.0/0"]},
        "action": "ACCEPT",
    }
    return {
        "inbound": [rule],
        "inbound_policy": "DROP",
        "outbound_policy": "ACCEPT",
    }


def create_firewall(customer: Customer) -> dict[str, Any]:
    body = {"label": "web", "rules": lets_in(22)}
    status, firewall = customer.call("POST", "/v4/networking/firewalls", body)
    assert status == 200, firewall
    return dict(firewall)


def assert_rules_reach_the_running_guest(
    stack: Stack, customer: Customer, firewall_id: int
) -> None:
    assert opened_ports(stack) == {22}
    path = f"/v4/networking/firewalls/{firewall_id}"
    assert customer.call("PUT", f"{path}/rules", lets_in(80))[0] == 200
    eventually(lambda: opened_ports(stack) == {80}, "the host has the new rule")
    assert customer.call("DELETE", path)[0] == 200


def opened_ports(stack: Stack) -> set[int]:
    """Return the TCP ports to which the virtual host lets packets to its guests."""
    saved = stack.gpuhost.shell("iptables-save -t filter")
    return {
        int(port) for port in re.findall(r"-A FO-.* --dport (\d+) .*-j ACCEPT", saved)
    } - {DHCP_CLIENT}


def test_two_guests_get_disks_seeds_and_addresses_of_their_own(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor
) -> None:
    firewall = create_firewall(employee)
    made = [
        create(employee, "web_1"),
        create(employee, "web_2", firewall_id=firewall["id"]),
    ]
    uuids = [uuid_of(stack, instance) for instance in made]
    addresses = []
    for instance, uuid in zip(made, uuids, strict=True):
        running = employee.wait_for(instance["id"], "running")
        (address,) = running["ipv4"]
        addresses.append(address)
        assert running["has_user_data"] is True
        console = employee.console(instance["id"], until="TINY-DONE")
        assert_guest_read_its_seed(console, instance["label"], address)
        assert_on_the_guests_network(hypervisor.domain_xml(uuid), uuid)
        _, networking = employee.call(
            "GET", f"/v4/linode/instances/{instance['id']}/ips"
        )
        assert networking["ipv4"]["public"][0]["address"] == address
        rules = stack.gpuhost.shell("ebtables -t nat -L")
        assert f"--ip-src {address} -j RETURN" in rules
    assert_rules_reach_the_running_guest(stack, employee, firewall["id"])
    assert len(set(addresses)) == 2
    assert len(hypervisor.volume_names(IMAGES)) == 1
    assert hypervisor.volume_names(DISKS) == sorted(
        f"{uuid}{suffix}" for uuid in uuids for suffix in ("-seed.iso", ".qcow2")
    )

    for instance in made:
        employee.call("DELETE", f"/v4/linode/instances/{instance['id']}")
    for instance in made:
        employee.wait_gone(instance["id"])

    assert hypervisor.volume_names(DISKS) == []
    assert len(hypervisor.volume_names(IMAGES)) == 1
    assert rows(stack, "AddressClaim.objects.filter(released_at=None).count()") == 0
    assert rows(stack, "SeedSettings.objects.count()") == 0
    rules = stack.gpuhost.shell("ebtables -t nat -L")
    assert not any(address in rules for address in addresses)
    filters = {f"gpucloud-{uuid}" for uuid in uuids}
    assert not filters.intersection(hypervisor.filter_names())
    assert_never_logged(stack, PASSWORD)


def assert_never_logged(stack: Stack, secret: str) -> None:
    logs = list(stack.django.layout.logs.glob("e2e-*.log"))
    assert logs
    assert not any(secret in path.read_text(errors="replace") for path in logs)


def test_image_that_is_not_what_its_digest_says_is_not_offered(
    stack: Stack, employee: Customer
) -> None:
    code = (
        "from instances.models import Image; from instances.actions.images import *; "
        "save_image(Image(slug='gpucloud/bad', label='Bad', source='tiny.qcow2', "
        "sha256='0' * 64, disk_format='qcow2', position=99))"
    )
    stack.manage("shell", "-v0", "-c", code)
    answer = "[i.status, i.problem]"
    query = f"(lambda i: {answer})(Image.objects.get(slug='gpucloud/bad'))"
    try:
        status, problem = "creating", ""
        for _ in range(60):
            status, problem = rows(stack, query)
            if status != "creating":
                break

        assert status == "pending_upload"
        assert "has the SHA-256 digest" in problem
        refused, body = employee.call(
            "POST",
            "/v4/linode/instances",
            {
                "type": "lab-standard-1",
                "region": "us-east",
                "image": "gpucloud/bad",
                "authorized_keys": [KEY],
            },
        )
        assert refused == 400
        assert body["errors"] == [{"reason": "image is not valid", "field": "image"}]
    finally:
        stack.manage(
            *("shell", "-v0", "-c"),
            "from instances.models import Image; "
            "Image.objects.filter(slug='gpucloud/bad').delete()",
        )
