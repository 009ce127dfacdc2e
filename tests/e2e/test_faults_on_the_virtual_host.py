"""Faults of a host and of its guests: seen within a cycle, nobody loses, and all heals.

Cards that come and go are in test_card_faults_on_the_virtual_host.
"""

import uuid

import pytest

from inventory.exceptions import HypervisorError
from inventory.hypervisor.supervised import SupervisedHypervisor
from tests.e2e.conftest import Stack
from tests.e2e.observing import (
    CHECKED_S,
    connection,
    eventually,
    healed,
    open_claims,
    open_kinds,
    rows,
    sells,
)
from tests.e2e.test_launch_on_the_virtual_host import (
    Customer,
    claims_of,
    employee,
    hypervisor,
)
from tests.gpuhost import faults
from tests.simulated import stranger_on

__all__ = ["employee", "hypervisor"]
pytestmark = [pytest.mark.e2e, pytest.mark.gpuhost]
NOW = "__import__('django.utils.timezone').utils.timezone.now()"
REFUSED = "The host refused this machine. Nothing is held or charged for it."


def why_failed(stack: Stack, employee: Customer, instance_id: int) -> tuple[str, str]:
    """Return what a failed launch told the customer, and what it told staff."""
    _, events = employee.call("GET", "/v4/account/events")
    event = next(e for e in events["data"] if e["entity"]["id"] == instance_id)
    assert event["status"] == "failed"
    detail = rows(stack, f"Job.objects.get(instance={instance_id}).internal_detail")
    return event["message"], detail


def uuid_of(stack: Stack, instance_id: int) -> str:
    return str(rows(stack, f"Instance.objects.get(pk={instance_id}).uuid"))


def is_refused(employee: Customer, cards: int = 1) -> bool:
    body = {
        "type": f"lab-gpu-rtx6000-{cards}",
        "region": "us-east",
        "image": "gpucloud/probe",
    }
    status, answer = employee.call("POST", "/v4/linode/instances", body)
    return status == 400 and answer["errors"][0]["field"] == "region"


def test_used_card_in_a_second_domain_is_told_and_stays_its_tenants(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor
) -> None:
    instance = employee.create(1)
    employee.wait_for(instance["id"], "running")
    (card,) = claims_of(stack, instance["id"])["cards"]
    second = str(uuid.uuid4())

    hypervisor.define_domain(stranger_on(card, second))
    with pytest.raises(HypervisorError) as refusal:
        hypervisor.start_domain(second)

    # VIR_ERR_OPERATION_INVALID: "is in use by driver QEMU".
    assert refusal.value.code == 55
    told = ["card_in_two_domains", "stray_domain", "unclaimed_hostdev"]
    eventually(lambda: open_kinds(stack) == told, "second domain not told of")
    assert open_claims(stack) == 1
    sells(stack, 3)
    assert employee.wait_for(instance["id"], "running")
    hypervisor.undefine_domain(second)
    healed(stack)


def test_guest_that_does_not_answer_its_host_is_deleted_all_the_same(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor
) -> None:
    instance = employee.create(1)
    employee.wait_for(instance["id"], "running")
    due = rows(stack, "Host.objects.get().reconciled_at")

    faults.stop_guest(stack.gpuhost, f"gpucloud-{instance['id']}")

    eventually(
        lambda: rows(stack, "Host.objects.get().reconciled_at") > due, "not looked at"
    )
    assert (connection(stack), open_kinds(stack)) == ("ok", [])
    employee.call("DELETE", f"/v4/linode/instances/{instance['id']}")
    employee.wait_gone(instance["id"])
    # Its card's check may have begun meanwhile.
    assert uuid_of(stack, instance["id"]) not in hypervisor.domains()
    assert open_claims(stack) == 0
    healed(stack)


def test_guest_that_cannot_start_is_undone(stack: Stack, employee: Customer) -> None:
    rows(
        stack,
        "Image.objects.get_or_create(slug='gpucloud/probe-none', defaults={'label': 'none', "
        "'kernel_path': '/var/lib/libvirt/images/none.elf'})[0].pk",
    )

    instance = employee.create(2, image="gpucloud/probe-none")
    employee.wait_gone(instance["id"])

    message, detail = why_failed(stack, employee, instance["id"])
    assert message == REFUSED
    assert "could not open kernel file" in detail
    assert open_claims(stack) == 0
    healed(stack)
    sells(stack, 4)


def test_memory_that_hugepages_took_fails_one_launch_and_stops_sale(
    stack: Stack, employee: Customer
) -> None:
    """A guest's memory must come from its card's node, and there is none left."""
    try:
        with stack.unwatched():
            for node in (0, 1):
                assert faults.reserve_hugepages(stack.gpuhost, node, 600) > 500
            # That took long; a host that was not looked at sells nothing.
            rows(stack, f"Host.objects.update(last_seen_at={NOW})")
            instance = employee.create(1)
            employee.wait_gone(instance["id"])
        message, detail = why_failed(stack, employee, instance["id"])
        assert message == REFUSED
        assert "libvirt code 1: internal error" in detail
        assert open_claims(stack) == 0
        told = ["host_changed", "host_changed"]
        eventually(lambda: open_kinds(stack) == told, "lost memory not told of")
        sells(stack, 0)
        assert is_refused(employee)
    finally:
        for node in (0, 1):
            faults.reserve_hugepages(stack.gpuhost, node, 0)
    healed(stack)
    sells(stack, 4)


def test_launch_outlasts_a_libvirtd_that_stands_still(
    stack: Stack, employee: Customer
) -> None:
    faults.stop_libvirtd(stack.gpuhost)
    try:
        instance = employee.create(1)
        eventually(lambda: connection(stack) == "unknown", "not seen silent")
        assert open_claims(stack) == 1
        sells(stack, 0)
        assert is_refused(employee)
    finally:
        faults.continue_libvirtd(stack.gpuhost)
    eventually(lambda: connection(stack) == "ok", "not back")
    employee.wait_for(instance["id"], "running")
    healed(stack)
    sells(stack, 3)


def test_host_that_lost_power_keeps_its_claims_and_checks_its_cards(
    stack: Stack, employee: Customer
) -> None:
    instance = employee.create(1)
    employee.wait_for(instance["id"], "running")
    # A card that a lab let through unwiped is scrubbed, too.
    tests = "CardCheck.objects.filter(kind='test').count()"
    before = rows(stack, tests)

    faults.kill_host(stack.gpuhost)
    try:
        eventually(lambda: connection(stack) == "unknown", "not seen gone")
        assert open_claims(stack) == 1
        sells(stack, 0)
        assert is_refused(employee)
        # It comes back from a saved state, some CPU time after its boot.
        rows(stack, "Host.objects.update(cpu_seconds=1e6)")
    finally:
        # Its disk, and with it the definition of the guest, is lost.
        stack.gpuhost.restore()
    told = ["boot_changed", "domain_missing"]
    eventually(lambda: open_kinds(stack) == told, "boot not told of")
    assert connection(stack) == "ok"
    employee.wait_for(instance["id"], "offline")
    assert open_claims(stack) == 1

    eventually(
        lambda: open_kinds(stack) == ["domain_missing"],
        "free cards unchecked",
        CHECKED_S,
    )
    assert rows(stack, tests) == before + 3
    employee.call("DELETE", f"/v4/linode/instances/{instance['id']}")
    employee.wait_gone(instance["id"])
    healed(stack)
    sells(stack, 4)
