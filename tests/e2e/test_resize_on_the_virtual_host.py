"""Resizes over real HTTP, workers, libvirt and QEMU: more cards, and a larger disk."""

import pytest

from inventory.hypervisor.supervised import SupervisedHypervisor
from inventory.hypervisor.xml import parse_domain
from tests.e2e.conftest import Stack
from tests.e2e.observing import open_claims
from tests.e2e.test_disks_on_the_virtual_host import create
from tests.e2e.test_launch_on_the_virtual_host import (
    Customer,
    claims_of,
    employee,
    hypervisor,
    rows,
)

__all__ = ["employee", "hypervisor"]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.gpuhost,
    pytest.mark.usefixtures("unsanitised"),
]


def resize(customer: Customer, instance_id: int, plan: str, status: str) -> None:
    path = f"/v4/linode/instances/{instance_id}"
    assert customer.call("POST", f"{path}/resize", {"type": plan}) == (200, {})
    customer.wait_for(instance_id, status)
    assert customer.call("GET", path)[1]["type"] == plan


def test_guest_with_one_card_gets_two(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor
) -> None:
    linode = employee.create(1, label="grows")["id"]
    employee.wait_for(linode, "running")
    employee.console(linode, "PROBE-DONE cards=1")
    had = claims_of(stack, linode)["cards"]

    resize(employee, linode, "lab-gpu-rtx6000-2", "running")

    employee.console(linode, "PROBE-DONE cards=2")
    shown = employee.call("GET", f"/v4/linode/instances/{linode}")[1]
    assert (shown["type"], shown["specs"]["gpus"]) == ("lab-gpu-rtx6000-2", 2)
    claims = claims_of(stack, linode)
    assert len(claims["cards"]) == open_claims(stack) == 2
    assert not set(had) & set(claims["cards"])
    uuid = rows(stack, f"str(Instance.objects.get(pk={linode}).uuid)")
    live = parse_domain(hypervisor.domain_xml(uuid))
    assert [str(address) for address in live.hostdevs] == claims["cards"]
    stack.check("verify_ledger")
    stack.check("verify_usage")


def test_disk_is_as_large_as_the_new_plan_says(
    stack: Stack, employee: Customer
) -> None:
    # This guest heeds no ACPI: one that is off need not be waited for.
    linode = create(employee, "disk_grows", booted=False)["id"]
    employee.wait_for(linode, "offline")

    resize(employee, linode, "lab-standard-2", "offline")

    assert employee.call("POST", f"/v4/linode/instances/{linode}/boot", {})[0] == 200
    employee.console(linode, f"TINY-UP sectors={3072 * 2048}\r")
    stack.check("verify_usage")
