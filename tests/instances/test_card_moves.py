"""A card at another address, and IOMMU groups with other numbers: what is taken over."""

import re
import threading
from collections.abc import Callable

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from instances.actions.delete import delete
from instances.actions.launch import launch
from instances.jobs import runner
from instances.models import Job
from instances.reconcile import reconcile, take_due_hosts
from inventory.card_actions import quarantine
from inventory.card_moves import accept_move
from inventory.choices import HostPolicy
from inventory.enrolment import EnrolmentOrder, enrol
from inventory.exceptions import HostUnreachable, TransitionForbidden
from inventory.host_policy import set_policy
from inventory.ledger import Actor
from inventory.ledger_audit import audit
from inventory.models import Card, CardEvent, Discrepancy, Host
from tests.builders import make_account, make_gpu_model, make_order, make_region
from tests.conftest import recorded, recorded_devices
from tests.instances.test_card_checks import check_all, work
from tests.simulated import Faulty, SimulatedHypervisor

pytestmark = pytest.mark.django_db
ANN = Actor("user:ann", "swapped to free the slot")


def with_serial(device: str, serial: str) -> str:
    """Return the device's document as a card with vital product data reports it."""
    vpd = (
        "<capability type='vpd'><name>GPU</name><fields access='readonly'>"
        f"<serial_number>{serial}</serial_number></fields></capability>"
    )
    return device.replace("<iommuGroup", f"{vpd}<iommuGroup", 1)


def at_bus(device: str, bus: int, node: int | None = None) -> str:
    """Return the document of the same card in another slot."""
    moved = re.sub(r"<bus>\d+</bus>", f"<bus>{bus}</bus>", device)
    moved = re.sub(r"bus=(['\"])0x\w+\1", f"bus='0x{bus:02x}'", moved)
    moved = re.sub(r"pci_0000_\w\w_", f"pci_0000_{bus:02x}_", moved)
    moved = re.sub(
        r"<iommuGroup number=(['\"])\d+\1", f"<iommuGroup number='{bus}'", moved
    )
    if node is not None:
        moved = re.sub(r"<numa node=(['\"])\d\1", f"<numa node='{node}'", moved)
    return moved


def is_card(device: str) -> bool:
    return "0x1e30" in device


def machine(uuid_end: str, serial: str) -> SimulatedHypervisor:
    """Return a recorded host with a UUID of its own, its cards with serial numbers."""
    devices = recorded_devices("pci-2x2-rtx6000.xml")
    return SimulatedHypervisor(
        recorded("capabilities-2x2.xml").replace("3e8ee270", f"3e8ee27{uuid_end}"),
        tuple(
            with_serial(device, f"{serial}{number}") if is_card(device) else device
            for number, device in enumerate(devices)
        ),
    )


def enrolled(name: str, hypervisor: SimulatedHypervisor) -> Host:
    order = EnrolmentOrder(
        f"qemu+tls://{name}/system",
        "us-east",
        name,
        reserved_cores=0,
        reserved_memory_mib=256,
    )
    host = enrol(order, "user:tester", hypervisor).host
    check_all(host, hypervisor)
    assert reconcile(host.pk, hypervisor) == []
    return host


@pytest.fixture(autouse=True)
def catalogue(settings: object) -> None:
    settings.LAB = True  # type: ignore[attr-defined]
    make_region()
    make_gpu_model()


class Pair:
    """Two enrolled hosts; `move` carries the first's last card over to the second."""

    def __init__(self) -> None:
        self.machines = machine("1", "A"), machine("2", "B")
        self.hosts = tuple(
            enrolled(name, m)
            for name, m in zip(("gpu1", "gpu2"), self.machines, strict=True)
        )
        self.card = self.hosts[0].cards.get(slot_path="0000:61:00")

    def move(self, bus: int = 0x71) -> None:
        old, new = self.machines
        (device,) = [d for d in old.devices if is_card(d) and "<bus>97</bus>" in d]
        old.devices.remove(device)
        # Who was in the slot has to make room.
        new.devices = [d for d in new.devices if f"<bus>{bus}</bus>" not in d]
        new.devices.append(at_bus(device, bus, 0))

    def look(self) -> list[str]:
        return [
            row.kind
            for host, m in zip(self.hosts, self.machines, strict=True)
            for row in reconcile(host.pk, m)
        ]

    def accept(self, slot: str = "0000:71:00") -> Card:
        return accept_move(self.card.pk, self.hosts[1].pk, slot, ANN, self.machines[1])


@pytest.fixture
def pair() -> Pair:
    return Pair()


def assert_nothing_moved(pair: Pair, events: int) -> None:
    card = Card.objects.get(pk=pair.card.pk)
    assert (card.host_id, card.slot_path) == (pair.hosts[0].pk, "0000:61:00")
    assert CardEvent.objects.count() == events


def test_accepted_move_is_one_event_and_the_card_is_checked_before_it_is_sold(
    pair: Pair,
) -> None:
    pair.move()
    assert pair.look() == ["card_vanished", "card_moved"]

    pair.accept()

    card = Card.objects.get(pk=pair.card.pk)
    assert (card.host_id, card.slot_path) == (pair.hosts[1].pk, "0000:71:00")
    assert (card.numa_node.number, card.condition) == (0, "unverified")
    assert card.numa_node.host_id == pair.hosts[1].pk
    assert [f.iommu_group for f in card.functions.all()] == [0x71]
    moved, checked = card.events.order_by("-pk")[:2][::-1]
    assert (moved.kind, moved.host_id, moved.slot_path) == (
        "moved",
        pair.hosts[1].pk,
        "0000:71:00",
    )
    assert (moved.actor, moved.reason) == (ANN.name, ANN.reason)
    assert (checked.from_condition, checked.to_condition) == ("missing", "unverified")
    assert sorted(take_due_hosts()) == sorted(host.pk for host in pair.hosts)
    assert pair.look() == []
    check_all(pair.hosts[1], pair.machines[1])
    card.refresh_from_db()
    assert card.condition == "ready"
    assert Host.objects.get(pk=pair.hosts[1].pk).free_shape.count("rtx6000=3") == 1
    assert audit().difference is None


def test_moved_card_that_a_tenant_had_is_scrubbed_first(pair: Pair) -> None:
    set_policy(pair.hosts[1].pk, HostPolicy.DRAINING, ANN)
    account = make_account()
    for _ in range(4):
        launch(make_order(account))
    for job in Job.objects.filter(kind="launch"):
        runner.run(job.pk, lambda _uri: pair.machines[0])  # type: ignore[arg-type,return-value]
    for instance in account.instances.all():
        job = delete(instance, "user:tester", "tester")
        runner.run(job.pk, lambda _uri: pair.machines[0])  # type: ignore[arg-type,return-value]
    pair.move()
    pair.look()

    assert pair.accept().condition == "dirty"


def test_card_of_a_host_that_died_moves_before_it_was_missed(pair: Pair) -> None:
    """Its old host answers no more, so nobody has seen that it left."""
    pair.move()
    Discrepancy.objects.create(
        host=pair.hosts[0],
        kind="numa_changed",
        subject="0000:61:00",
        card=pair.card,
        detail="of the old place",
        prevents_claims=True,
        first_seen_at=timezone.now(),
        last_seen_at=timezone.now(),
    )
    assert [row.kind for row in reconcile(pair.hosts[1].pk, pair.machines[1])] == [
        "card_moved"
    ]

    assert pair.accept().condition == "unverified"
    assert Discrepancy.objects.filter(card=pair.card, resolved_at=None).count() == 0
    check_all(pair.hosts[1], pair.machines[1])
    assert Card.objects.get(pk=pair.card.pk).condition == "ready"


def test_quarantined_card_moves_and_stays_quarantined(pair: Pair) -> None:
    quarantine(pair.card.pk, ANN)
    pair.move()
    pair.look()

    assert pair.accept().condition == "quarantined"
    assert pair.look() == []
    assert audit().difference is None


def test_card_moves_within_its_host(pair: Pair) -> None:
    host, hypervisor = pair.hosts[0], pair.machines[0]
    (device,) = [d for d in hypervisor.devices if is_card(d) and "<bus>97</bus>" in d]
    hypervisor.devices.remove(device)
    hypervisor.devices.append(at_bus(device, 0x72))
    assert [row.kind for row in reconcile(host.pk, hypervisor)] == [
        "card_vanished",
        "card_moved",
    ]

    card = accept_move(pair.card.pk, host.pk, "0000:72:00", ANN, hypervisor)

    assert (card.slot_path, card.condition) == ("0000:72:00", "unverified")
    assert reconcile(host.pk, hypervisor) == []


def test_claimed_card_does_not_move(pair: Pair) -> None:
    set_policy(pair.hosts[1].pk, HostPolicy.DRAINING, ANN)
    for _ in range(4):
        launch(make_order())
    pair.move()
    pair.look()
    events = CardEvent.objects.count()

    with pytest.raises(TransitionForbidden, match="is in use"):
        pair.accept()

    assert_nothing_moved(pair, events)


def _taken(pair: Pair) -> None:
    pair.move(0x61)


def _not_there(pair: Pair) -> None:
    """It was seen there once, and is gone again."""


def _other_host(pair: Pair) -> None:
    pair.move()
    pair.machines[1]._capabilities = pair.machines[0]._capabilities


def _retired(pair: Pair) -> None:
    pair.move()
    set_policy(pair.hosts[1].pk, HostPolicy.RETIRED, ANN)


@pytest.mark.parametrize(
    ("prepare", "slot", "reason"),
    [
        (_taken, "0000:61:00", "is taken by card"),
        (_not_there, "0000:71:00", "is not at 0000:71:00 now"),
        (_other_host, "0000:71:00", "answers as another host"),
        (_retired, "0000:71:00", "is retired: it takes no card"),
    ],
)
def test_move_that_cannot_be_is_refused_and_changes_nothing(
    pair: Pair, prepare: Callable[[Pair], None], slot: str, reason: str
) -> None:
    prepare(pair)
    events = CardEvent.objects.count()

    with pytest.raises(TransitionForbidden, match=reason):
        pair.accept(slot)

    assert_nothing_moved(pair, events)


def test_move_to_a_silent_host_is_not_accepted(pair: Pair) -> None:
    pair.move()
    events = CardEvent.objects.count()

    def silent(_: str) -> None:
        raise HostUnreachable("no answer")

    with pytest.raises(HostUnreachable):
        accept_move(
            pair.card.pk,
            pair.hosts[1].pk,
            "0000:71:00",
            ANN,
            Faulty(pair.machines[1], silent),
        )

    assert_nothing_moved(pair, events)


def test_lower_host_is_locked_first_whichever_way_a_card_goes(pair: Pair) -> None:
    pair.move()
    pair.look()
    with CaptureQueriesContext(connection) as there:
        pair.accept()
    back = pair.machines[1].devices.pop()
    pair.machines[0].devices.append(at_bus(back, 0x73))
    with CaptureQueriesContext(connection) as home:
        accept_move(pair.card.pk, pair.hosts[0].pk, "0000:73:00", ANN, pair.machines[0])

    expected = sorted(host.pk for host in pair.hosts)
    for captured in (there, home):
        locked = [
            int(re.search(r'"inventory_host"."id" = (\d+)', q["sql"])[1])  # type: ignore[index]
            for q in captured
            if "FOR UPDATE" in q["sql"] and 'FROM "inventory_host"' in q["sql"]
        ]
        assert locked == expected


@pytest.mark.django_db(transaction=True)
def test_cards_that_change_places_at_once_do_not_deadlock(catalogue: None) -> None:
    pair = Pair()
    other = pair.hosts[1].cards.get(slot_path="0000:61:00")
    pair.move(0x71)
    new, old = pair.machines[1], pair.machines[0]
    (device,) = [d for d in new.devices if is_card(d) and "<bus>97</bus>" in d]
    new.devices.remove(device)
    old.devices.append(at_bus(device, 0x71, 0))
    errors: list[BaseException] = []

    def accept(card: Card, host: Host, hypervisor: SimulatedHypervisor) -> None:
        try:
            accept_move(card.pk, host.pk, "0000:71:00", ANN, hypervisor)
        except BaseException as error:  # noqa: BLE001 -- told by the main thread
            errors.append(error)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=accept, args=(pair.card, pair.hosts[1], new)),
        threading.Thread(target=accept, args=(other, pair.hosts[0], old)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert CardEvent.objects.filter(kind="moved").count() == 2
    with transaction.atomic():
        assert audit().difference is None


def renumbered(hypervisor: SimulatedHypervisor, plus: int = 50) -> None:
    hypervisor.devices = [
        re.sub(
            r"<iommuGroup number=(['\"])(\d+)\1",
            lambda m: f"<iommuGroup number='{int(m[2]) + plus}'",
            device,
        )
        for device in hypervisor.devices
    ]


def groups_of(host: Host) -> list[int]:
    return [
        function.iommu_group
        for card in host.cards.order_by("slot_path")
        for function in card.functions.all()
    ]


@pytest.mark.parametrize("boot_is_seen", [True, False])
def test_new_group_numbers_are_taken_over_once_the_cards_passed_their_test(
    boot_is_seen: bool,
) -> None:
    hypervisor = machine("1", "A")
    host = enrolled("gpu1", hypervisor)
    before = groups_of(host)
    renumbered(hypervisor)
    if boot_is_seen:
        hypervisor.boot_anew()

    found = [row.kind for row in reconcile(host.pk, hypervisor)]
    again = [row.kind for row in reconcile(host.pk, hypervisor)]

    assert found.count("group_changed") == again.count("group_changed") == 4
    assert groups_of(host) == before
    assert set(host.cards.values_list("condition", flat=True)) == {"unverified"}
    check_all(host, hypervisor)
    assert reconcile(host.pk, hypervisor) == []
    assert groups_of(host) == [group + 50 for group in before]
    assert set(host.cards.values_list("condition", flat=True)) == {"ready"}


def test_group_of_a_card_in_use_is_taken_over_after_its_guest_is_gone() -> None:
    hypervisor = machine("1", "A")
    host = enrolled("gpu1", hypervisor)
    instance = launch(make_order())
    work([Job.objects.get(instance=instance).pk], hypervisor)
    used = Card.objects.get(claims__consumer=instance.uuid)
    before = [f.iommu_group for f in used.functions.all()]
    renumbered(hypervisor)
    reconcile(host.pk, hypervisor)
    check_all(host, hypervisor)

    found = reconcile(host.pk, hypervisor)

    assert [(row.kind, row.card_id) for row in found] == [("group_changed", used.pk)]
    assert [f.iommu_group for f in used.functions.all()] == before
    assert Card.objects.get(pk=used.pk).condition == "ready"
    work([delete(instance, "user:tester", "tester").pk], hypervisor)
    assert reconcile(host.pk, hypervisor) == []
    assert [f.iommu_group for f in used.functions.all()] == [g + 50 for g in before]


def test_groups_numbered_once_more_are_another_difference() -> None:
    hypervisor = machine("1", "A")
    host = enrolled("gpu1", hypervisor)
    renumbered(hypervisor)
    reconcile(host.pk, hypervisor)
    check_all(host, hypervisor)
    renumbered(hypervisor)

    found = reconcile(host.pk, hypervisor)

    assert [row.kind for row in found] == ["group_changed"] * 4
    assert set(host.cards.values_list("condition", flat=True)) == {"unverified"}
