"""Cards between tenants and under faults, on real vfio: nothing stays, nothing is lost."""

import re

import pytest

from tests.e2e.conftest import Stack
from tests.e2e.observing import CHECKED_S, condition, eventually, open_kinds, rows
from tests.e2e.test_launch_on_the_virtual_host import Customer, employee
from tests.gpuhost import faults

__all__ = ["employee"]
pytestmark = [pytest.mark.e2e, pytest.mark.gpuhost]


def residues(employee: Customer, instance_id: int) -> list[tuple[int, int]]:
    """Return (bytes that are not zero, all bytes) of each card, as the guest found it."""
    console = employee.console(instance_id)
    found = re.findall(r"GPU-RESIDUE nonzero=(\d+) of=(\d+)", console)
    return [(int(left), int(size)) for left, size in found]


def moved_in(employee: Customer) -> tuple[int, list[tuple[int, int]]]:
    """Return a new tenant of all cards, who fills their memory, and what it found there."""
    linode = int(employee.create(4)["id"])
    employee.wait_for(linode, "running")
    return linode, residues(employee, linode)


def moved_out(stack: Stack, employee: Customer, linode: int) -> None:
    employee.call("DELETE", f"/v4/linode/instances/{linode}")
    employee.wait_gone(linode)
    stack.wait_for_cards()


def test_next_tenant_reads_nothing_of_the_last(
    stack: Stack, employee: Customer
) -> None:
    first, _ = moved_in(employee)
    moved_out(stack, employee, first)

    second, found = moved_in(employee)

    assert found == [(0, 4 << 20)] * 4
    evidence = rows(
        stack,
        "list(CardCheck.objects.filter(outcome='passed', kind='sanitise')"
        ".values_list('console', flat=True)[:1])",
    )
    assert "SCRUBBED index=0 bytes=4194304 bad=0 left=0" in evidence[0]
    # That is a proof: what is left where nothing is wiped would be seen.
    with stack.sanitising_off():
        moved_out(stack, employee, second)
        third, found = moved_in(employee)
        assert found == [(4 << 20, 4 << 20)] * 4
        moved_out(stack, employee, third)


def test_free_card_pulled_out_is_missing_and_checked_when_it_is_back(
    stack: Stack, employee: Customer
) -> None:
    slot = "0000:62:00"
    faults.unplug_card(stack.gpuhost, 3)
    try:
        eventually(lambda: condition(stack, slot) == "missing", "not seen missing")
        assert open_kinds(stack) == ["card_vanished"]
        status, refused = employee.call(
            "POST",
            "/v4/linode/instances",
            {
                "type": "lab-gpu-rtx6000-4",
                "region": "us-east",
                "image": "gpucloud/probe",
            },
        )
        assert (status, refused["errors"][0]["field"]) == (400, "region")
    finally:
        faults.plug_card(stack.gpuhost, slot=3)
    eventually(
        lambda: condition(stack, slot) == "ready", "not checked and ready", CHECKED_S
    )
    eventually(lambda: open_kinds(stack) == [], "discrepancies stay open")


def test_killed_guest_is_offline_and_keeps_its_card(
    stack: Stack, employee: Customer
) -> None:
    instance = employee.create(1)
    employee.wait_for(instance["id"], "running")

    path = f"/v4/linode/instances/{instance['id']}"
    employee.call("PUT", path, {"watchdog_enabled": False})

    # Nobody will look for a year, unless an event calls.
    rows(stack, "Host.objects.update(reconcile_due_at='2100-01-01T00:00Z')")
    faults.kill_guest(stack.gpuhost, f"gpucloud-{instance['id']}")

    eventually(lambda: open_kinds(stack) == ["domain_off"], "not seen off")
    assert employee.wait_for(instance["id"], "offline")
    assert rows(stack, "CardClaim.objects.filter(released_at=None).count()") == 1


def test_killed_libvirtd_changes_nothing(stack: Stack, employee: Customer) -> None:
    instance = employee.create(1)
    employee.wait_for(instance["id"], "running")

    faults.kill_libvirtd(stack.gpuhost)

    eventually(lambda: rows(stack, "Host.objects.get().connection") == "ok", "not back")
    assert rows(stack, "CardClaim.objects.filter(released_at=None).count()") == 1
    assert employee.wait_for(instance["id"], "running")


def test_frozen_host_is_unknown_and_sells_nothing_until_it_answers(
    stack: Stack, employee: Customer
) -> None:
    before = rows(stack, "list(Card.objects.order_by('pk').values('pk', 'condition'))")
    faults.pause_host(stack.gpuhost)
    try:
        eventually(
            lambda: rows(stack, "Host.objects.get().connection") == "unknown",
            "not seen silent",
        )
        cards = rows(
            stack, "list(Card.objects.order_by('pk').values('pk', 'condition'))"
        )
        assert cards == before
    finally:
        faults.continue_host(stack.gpuhost)
    eventually(lambda: rows(stack, "Host.objects.get().connection") == "ok", "not back")
    stack.wait_for_cards()
    stack.check("verify_ledger")
