"""Cards that come, go and change on a live host: no tenant loses, no wrong one is sold."""

from collections.abc import Iterator

import pytest

from inventory.hypervisor.supervised import SupervisedHypervisor
from inventory.hypervisor.xml import parse_function
from tests.e2e.conftest import Stack
from tests.e2e.observing import (
    CHECKED_S,
    condition,
    conditions,
    eventually,
    healed,
    open_claims,
    open_kinds,
    rows,
    sells,
)
from tests.e2e.test_faults_on_the_virtual_host import REFUSED, is_refused, why_failed
from tests.e2e.test_launch_on_the_virtual_host import (
    Customer,
    claims_of,
    employee,
    hypervisor,
)
from tests.gpuhost import faults

__all__ = ["employee", "hypervisor"]
pytestmark = [pytest.mark.e2e, pytest.mark.gpuhost]
SLOT, PATH = 3, "0000:62:00"
ACTOR = "__import__('inventory.ledger').ledger.Actor('user:test', 'was a fault')"


def unplug(stack: Stack, host: SupervisedHypervisor, slot: int | str) -> None:
    """Pull a free card out and wait until libvirt lists it no more."""
    bus = {3: 0x62, "spare": 0x63}[slot]
    faults.unplug_card(stack.gpuhost, slot)
    eventually(
        lambda: (
            bus not in [parse_function(each).address.bus for each in host.pci_devices()]
        ),
        "still listed",
    )


@pytest.fixture(autouse=True)
def four_cards(stack: Stack) -> Iterator[None]:
    """Leave the host as built, whatever became of a test."""
    yield
    if open_kinds(stack):
        stack.gpuhost.restore()
        rows(
            stack,
            "[__import__('inventory.card_actions').card_actions.retire(c.pk, "
            f"{ACTOR}).pk for c in Card.objects.filter(condition='missing')"
            f".exclude(slot_path='{PATH}', gpu_model__slug='rtx6000')]",
        )
        healed(stack)


def act(stack: Stack, action: str, card: str) -> None:
    """Do what staff does to a card in the admin."""
    rows(
        stack,
        f"__import__('inventory.card_actions').card_actions.{action}("
        f"Card.objects.get({card}).pk, {ACTOR}).pk",
    )


def test_launch_on_a_card_that_was_just_pulled_out_is_undone(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor
) -> None:
    with stack.unwatched():
        unplug(stack, hypervisor, SLOT)
        instance = employee.create(4)
        employee.wait_gone(instance["id"])
        message, detail = why_failed(stack, employee, instance["id"])
        assert message == REFUSED
        assert f"Device {PATH}.0 not found" in detail
        assert open_claims(stack) == 0
        # Its scrub finds no card: that is no failure of the card.
        eventually(
            lambda: condition(stack, PATH) == "missing", "not found missing", CHECKED_S
        )

    eventually(lambda: open_kinds(stack) == ["card_vanished"], "not told of")
    stack.wait_for_cards()
    sells(stack, 3)
    assert is_refused(employee, 4)
    faults.plug_card(stack.gpuhost, slot=SLOT)
    eventually(
        lambda: condition(stack, PATH) == "ready", "not checked and ready", CHECKED_S
    )
    healed(stack)
    sells(stack, 4)


def test_card_pulled_out_in_use_is_missing_once_its_guest_has_gone(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor
) -> None:
    instance = employee.create(4)
    employee.wait_for(instance["id"], "running")
    claimed = claims_of(stack, instance["id"])["cards"]
    before = rows(stack, "Host.objects.get().reconciled_at")

    faults.unplug_card(stack.gpuhost, SLOT)

    eventually(
        lambda: rows(stack, "Host.objects.get().reconciled_at") > before, "no look"
    )
    # Linux waits for the guest to let go of it; until then all is as it was.
    assert (open_kinds(stack), open_claims(stack)) == ([], 4)
    assert employee.wait_for(instance["id"], "running")
    assert claims_of(stack, instance["id"])["cards"] == claimed
    employee.call("DELETE", f"/v4/linode/instances/{instance['id']}")
    employee.wait_gone(instance["id"])
    eventually(lambda: open_kinds(stack) == ["card_vanished"], "not told of")
    assert condition(stack, PATH) == "missing"
    stack.wait_for_cards()
    sells(stack, 3)
    faults.plug_card(stack.gpuhost, slot=SLOT)
    eventually(
        lambda: condition(stack, PATH) == "ready", "not checked and ready", CHECKED_S
    )
    healed(stack)


def test_another_card_in_the_slot_is_a_new_card(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor
) -> None:
    with stack.unwatched():
        unplug(stack, hypervisor, SLOT)
        faults.plug_card(stack.gpuhost, "l40s", SLOT)

    eventually(
        lambda: (
            set(open_kinds(stack)) > {"card_replaced"}
            or open_kinds(stack) == ["card_replaced"]
        ),
        "not told of",
    )
    assert condition(stack, PATH) == "missing"
    new = f"slot_path='{PATH}', gpu_model__slug='l40s'"
    eventually(
        lambda: rows(stack, f"Card.objects.get({new}).condition") == "ready",
        "the new card is not checked",
        CHECKED_S,
    )
    assert conditions(stack) == {"missing": 1, "ready": 4}
    sells(stack, 3)
    assert is_refused(employee, 4)

    with stack.unwatched():
        unplug(stack, hypervisor, SLOT)
        faults.plug_card(stack.gpuhost, slot=SLOT)
    eventually(
        lambda: condition(stack, PATH) == "ready", "not checked and ready", CHECKED_S
    )
    assert rows(stack, f"Card.objects.get({new}).condition") == "missing"
    act(stack, "retire", new)
    healed(stack)
    sells(stack, 4)


def test_new_card_that_fails_its_check_is_never_sold(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor
) -> None:
    """Linux has no room for the memory of a card in the empty port."""
    slot = faults.plug_card(stack.gpuhost)[:-2]
    eventually(lambda: "card_new" in open_kinds(stack), "not told of")
    eventually(
        lambda: condition(stack, slot) == "quarantined", "not quarantined", CHECKED_S
    )
    eventually(lambda: open_kinds(stack) == [], "told of for ever")
    assert conditions(stack) == {"quarantined": 1, "ready": 4}
    sells(stack, 4)

    unplug(stack, hypervisor, "spare")
    eventually(lambda: open_kinds(stack) == ["card_vanished"], "not told of")
    assert condition(stack, slot) == "missing"
    act(stack, "retire", f"slot_path='{slot}'")
    healed(stack)


def test_card_whose_group_a_host_driver_shares_is_not_sold(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor
) -> None:
    with stack.unwatched():
        unplug(stack, hypervisor, SLOT)
        faults.plug_card(stack.gpuhost, "rtx6000+rng", SLOT)

    eventually(lambda: open_kinds(stack) == ["functions_changed"], "not told of")
    sells(stack, 3)
    assert is_refused(employee, 4)
    # A check of it shows why: the group is not viable.
    act(stack, "send_to_checks", f"slot_path='{PATH}', gpu_model__slug='rtx6000'")
    eventually(
        lambda: condition(stack, PATH) == "quarantined", "not quarantined", CHECKED_S
    )
    finding = rows(
        stack, "CardCheck.objects.filter(outcome='failed').order_by('-pk')[0].finding"
    )
    assert "is not viable" in finding

    with stack.unwatched():
        unplug(stack, hypervisor, SLOT)
        faults.plug_card(stack.gpuhost, slot=SLOT)
    eventually(lambda: open_kinds(stack) == [], "told of for ever")
    assert condition(stack, PATH) == "quarantined"
    act(stack, "send_to_checks", f"slot_path='{PATH}', gpu_model__slug='rtx6000'")
    eventually(
        lambda: condition(stack, PATH) == "ready", "not checked and ready", CHECKED_S
    )
    healed(stack)
    sells(stack, 4)
