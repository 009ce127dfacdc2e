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


def tenancy(stack: Stack, employee: Customer, cards: int) -> list[tuple[int, int]]:
    """Let a tenant fill its cards' memory and go; return what it found there."""
    instance = employee.create(cards)
    employee.wait_for(instance["id"], "running")
    found = residues(employee, instance["id"])
    employee.call("DELETE", f"/v4/linode/instances/{instance['id']}")
    employee.wait_gone(instance["id"])
    stack.wait_for_cards()
    return found


@pytest.mark.parametrize("cards", [1, 4])
def test_next_tenant_reads_nothing_of_the_last(
    stack: Stack, employee: Customer, cards: int
) -> None:
    tenancy(stack, employee, cards)

    found = tenancy(stack, employee, cards)

    assert [left for left, _ in found] == [0] * cards
    assert all(size == 4 << 20 for _, size in found)
    evidence = rows(
        stack,
        "list(CardCheck.objects.filter(outcome='passed', kind='sanitise')"
        ".values_list('console', flat=True)[:1])",
    )
    assert "SCRUBBED index=0 bytes=4194304 bad=0 left=0" in evidence[0]


def test_without_sanitising_the_next_tenant_reads_the_last(
    stack: Stack, employee: Customer
) -> None:
    """The proof above is one: it sees what is left where nothing is wiped."""
    with stack.sanitising_off():
        tenancy(stack, employee, 4)

        found = tenancy(stack, employee, 4)

        assert [left for left, _ in found] == [4 << 20] * 4
    # What was let through unwiped is checked before anybody else gets it.
    rows(
        stack,
        "[__import__('inventory.card_actions').card_actions.send_to_checks(c.pk, "
        "__import__('inventory.ledger').ledger.Actor('user:test', 'was skipped')).pk "
        "for c in Card.objects.filter(condition='ready')]",
    )
    stack.wait_for_cards()


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
