"""A guest that is switched off and on and made anew keeps what it holds, on real libvirt."""

from collections.abc import Iterator
from typing import Any

import pytest

from inventory.hypervisor.port import DomainState
from inventory.hypervisor.supervised import SupervisedHypervisor
from inventory.hypervisor.xml import parse_domain
from tests.e2e.conftest import Stack
from tests.e2e.observing import eventually, open_kinds, rows
from tests.e2e.test_disks_on_the_virtual_host import KEY, create, uuid_of
from tests.e2e.test_launch_on_the_virtual_host import (
    Customer,
    assert_live_equals,
    claims_of,
    employee,
    hypervisor,
)
from tests.gpuhost import faults

__all__ = ["employee", "hypervisor"]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.gpuhost,
    pytest.mark.usefixtures("hasty"),
]


@pytest.fixture(scope="module")
def hasty(stack: Stack) -> Iterator[None]:
    """Unplug guests soon, as these heed no ACPI, and hand cards on as they are."""
    with stack.worker_with(
        GPUCLOUD_SHUTDOWN_GRACE_S="3", GPUCLOUD_LAB_SKIPS_SANITISING="true"
    ):
        yield


def does(customer: Customer, instance_id: int, verb: str, body: Any = None) -> None:
    path = f"/v4/linode/instances/{instance_id}/{verb}"
    status, answer = customer.call("POST", path, body)
    assert status == 200, answer


def test_guest_keeps_its_cards_through_its_whole_life(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor
) -> None:
    linode = employee.create(2)["id"]
    employee.wait_for(linode, "running")
    claimed = claims_of(stack, linode)
    for verb, body, then in (
        ("shutdown", None, "offline"),
        ("boot", None, "running"),
        ("reboot", None, "running"),
        ("rebuild", {"image": "gpucloud/probe"}, "running"),
    ):
        does(employee, linode, verb, body)
        employee.wait_for(linode, then)
        assert claims_of(stack, linode) == claimed
        on = hypervisor.domain_state(claimed["uuid"]) is DomainState.RUNNING
        assert on == (then == "running")
        document = hypervisor.domain_xml(claimed["uuid"])
        assert_live_equals(claimed, parse_domain(document))

    # It crashes, and the watchdog starts it again with the same cards.
    faults.kill_guest(stack.gpuhost, f"gpucloud-{linode}")
    boots = "Job.objects.filter(kind='boot', actor='system:watchdog').count()"
    employee.wait_for(linode, "booting")
    employee.wait_for(linode, "running")
    assert rows(stack, boots) == 1
    document = hypervisor.domain_xml(claimed["uuid"])
    assert_live_equals(claimed, parse_domain(document))
    # The next comparison sees that it runs.
    eventually(lambda: open_kinds(stack) == [], "still told of as off")


def test_disk_outlives_a_reboot_and_not_a_rebuild(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor
) -> None:
    linode = create(employee, "box")
    employee.wait_for(linode["id"], "running")
    uuid = uuid_of(stack, linode)
    employee.console(linode["id"], until="TINY-DONE")

    does(employee, linode["id"], "reboot")
    employee.wait_for(linode["id"], "running")
    employee.console(linode["id"], until="TINY-BOOTS 2\r")
    before = hypervisor.volume_names("gpucloud-disks")

    rebuild = {"image": "gpucloud/tiny", "authorized_keys": [KEY]}
    does(employee, linode["id"], "rebuild", rebuild)
    again = employee.wait_for(linode["id"], "running")

    assert again["ipv4"] == employee.wait_for(linode["id"], "running")["ipv4"]
    assert hypervisor.volume_names("gpucloud-disks") == before
    console = employee.console(linode["id"], until=f"instance-id: {uuid}-2")
    # Counted from one again, on a disk that nobody had.
    assert console.rindex("TINY-BOOTS 1\r") > console.rindex("TINY-BOOTS 2\r")
    assert rows(stack, "SeedSettings.objects.count()") == 0
