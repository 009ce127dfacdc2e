"""Enrolment from libvirt's documents alone: what is made, and what is refused whole."""

import re
import uuid

import pytest
from django.db import transaction
from django.test import override_settings

from inventory.choices import HostConnection
from inventory.enrolment import EnrolmentOrder, enrol
from inventory.exceptions import EnrolmentRefused, HostUnreachable
from inventory.free_host import free_host
from inventory.ledger import Actor, claim, lock_host
from inventory.models import Card, CardEvent, Host, HostCpu, NumaNode
from inventory.topology import NodeShare
from tests.builders import make_gpu_model, make_region
from tests.conftest import recorded
from tests.simulated import Faulty, SimulatedHypervisor

pytestmark = pytest.mark.django_db
URI = "qemu+tls://gpu1.example.net/system"


@pytest.fixture(autouse=True)
def lab() -> object:
    make_region()
    make_gpu_model()
    with override_settings(LAB=True):
        yield


def order(**fields: object) -> EnrolmentOrder:
    values = {
        "uri": URI,
        "region": "us-east",
        "name": "gpu1",
        "reserved_cores": 0,
        "reserved_memory_mib": 256,
        **fields,
    }
    return EnrolmentOrder(**values)  # type: ignore[arg-type]


def refused(host: SimulatedHypervisor, **fields: object) -> str:
    with pytest.raises(EnrolmentRefused) as caught:
        enrol(order(**fields), "user:tester", host)
    assert not Host.objects.exists()
    assert not NumaNode.objects.exists()
    assert not Card.objects.exists()
    return str(caught.value)


def test_host_with_nodes_cpus_cards_and_functions(
    simulated_host: SimulatedHypervisor,
) -> None:
    report = enrol(order(), "user:tester", simulated_host)

    host = Host.objects.get()
    assert (host.name, host.connection, host.domain_type) == ("gpu1", "ok", "qemu")
    assert [
        (n.number, n.memory_mib, n.memory_mib - n.reserved_memory_mib)
        for n in host.nodes.all()
    ] == [(0, 1478, 1152), (1, 1445, 1152)]
    assert HostCpu.objects.filter(numa_node__host=host).count() == 4
    assert [
        (c.slot_path, c.numa_node.number, c.condition) for c in host.cards.all()
    ] == [
        ("0000:21:00", 0, "unverified"),
        ("0000:22:00", 0, "unverified"),
        ("0000:61:00", 1, "unverified"),
        ("0000:62:00", 1, "unverified"),
    ]
    assert [f.iommu_group for c in host.cards.all() for f in c.functions.all()] == [
        13,
        14,
        9,
        10,
    ]
    assert len(report.new_cards) == 4
    assert CardEvent.objects.filter(kind="enrolled", actor="user:tester").count() == 4
    assert host.free_shape == "c2x1 m1152|c2x1 m1152"


def test_reserved_cores_are_kept(simulated_host: SimulatedHypervisor) -> None:
    enrol(order(reserved_cores=1), "user:tester", simulated_host)

    reserved = HostCpu.objects.filter(is_reserved=True)
    assert sorted(reserved.values_list("number", flat=True)) == [0, 2]


def test_enrolling_again_adds_only_new_cards(
    simulated_host: SimulatedHypervisor,
) -> None:
    devices = list(simulated_host.devices)
    simulated_host.devices = [d for d in devices if "pci_0000_62_00_0" not in d]
    enrol(order(), "user:tester", simulated_host)
    simulated_host.devices = devices

    report = enrol(order(name=""), "user:tester", simulated_host)

    assert not report.is_new
    assert [card.slot_path for card in report.new_cards] == ["0000:62:00"]
    assert Host.objects.count() == 1
    assert Card.objects.count() == 4


def test_enrolling_again_after_the_cpus_changed_is_refused(
    simulated_host: SimulatedHypervisor,
) -> None:
    enrol(order(), "user:tester", simulated_host)
    changed = recorded("capabilities-2x2.xml").replace(
        "<cpu id='3' socket_id='1' die_id='1' core_id='1' siblings='3'/>", ""
    )

    with pytest.raises(EnrolmentRefused, match="no longer as enrolled"):
        enrol(
            order(),
            "user:tester",
            SimulatedHypervisor(changed, tuple(simulated_host.devices)),
        )

    assert HostCpu.objects.count() == 4


def test_host_without_iommu_is_refused(simulated_host: SimulatedHypervisor) -> None:
    simulated_host._capabilities = simulated_host._capabilities.replace(
        "<iommu support='yes'/>", "<iommu support='no'/>"
    )

    text = refused(simulated_host)

    assert "no IOMMU that libvirt knows of" in text
    assert "intel_iommu=on" in text


def test_plain_host_needs_neither_iommu_nor_cards(
    simulated_host: SimulatedHypervisor,
) -> None:
    simulated_host._capabilities = simulated_host._capabilities.replace(
        "<iommu support='yes'/>", "<iommu support='no'/>"
    )
    simulated_host.devices = []

    report = enrol(order(is_plain=True), "user:tester", simulated_host)

    assert report.new_cards == []
    assert sum(node.cpus.count() for node in report.host.nodes.all()) == 4


def test_host_without_a_known_card_is_refused(
    simulated_host: SimulatedHypervisor,
) -> None:
    simulated_host.devices = [
        d.replace("0x1e30", "0x9999") for d in simulated_host.devices
    ]

    assert "0000:21:00.0 (10de:9999) is no known GPU model" in refused(simulated_host)


def test_card_in_a_shared_group_is_left_out_and_the_rest_enrolled(
    simulated_host: SimulatedHypervisor,
) -> None:
    simulated_host.devices = [
        d.replace('<iommuGroup number="14">', '<iommuGroup number="13">').replace(
            "<iommuGroup number='14'>", "<iommuGroup number='13'>"
        )
        for d in simulated_host.devices
    ]

    report = enrol(order(), "user:tester", simulated_host)

    assert [c.slot_path for c in report.new_cards] == ["0000:61:00", "0000:62:00"]
    assert len(report.not_for_sale) == 2
    assert "shares its IOMMU group with 0000:22:00.0" in report.not_for_sale[0]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"region": "mars"}, "region: 'mars' is not known (known: us-east)"),
        ({"uri": "http://gpu1"}, "'http://gpu1' is no libvirt address"),
        ({"uri": f"{URI}?Command=/bin/sh"}, "names a command, which would run"),
        ({"uri": "qemu+ext://gpu1/system"}, "is no libvirt address"),
        ({"reserved_memory_mib": 99999}, "keep less"),
        ({"reserved_cores": 2}, "keep fewer"),
    ],
)
def test_bad_order_is_refused_with_its_remedy(
    simulated_host: SimulatedHypervisor, fields: dict[str, object], text: str
) -> None:
    assert text in refused(simulated_host, **fields)


def test_production_refuses_open_tcp_and_emulated_hosts(
    simulated_host: SimulatedHypervisor,
) -> None:
    with override_settings(LAB=False):
        assert "neither encrypted nor authenticated" in refused(
            simulated_host, uri="qemu+tcp://gpu1/system"
        )
        assert "the host has no KVM" in refused(simulated_host)


def test_unreachable_host_leaves_nothing(simulated_host: SimulatedHypervisor) -> None:
    def unreachable(_: str) -> None:
        raise HostUnreachable("no route")

    with pytest.raises(HostUnreachable):
        enrol(order(), "user:tester", Faulty(simulated_host, unreachable))

    assert not Host.objects.exists()


def test_second_host_by_the_same_name_is_refused(
    simulated_host: SimulatedHypervisor,
) -> None:
    enrol(order(), "user:tester", simulated_host)
    twin = SimulatedHypervisor(
        simulated_host._capabilities.replace("3e8ee270", "3e8ee271"),
        tuple(simulated_host.devices),
    )

    with pytest.raises(EnrolmentRefused, match="'gpu1' belongs to another host"):
        enrol(order(uri="qemu+tls://other/system"), "user:tester", twin)

    assert Host.objects.get().connection == HostConnection.OK


def with_pages(host: SimulatedHypervisor, count: int) -> SimulatedHypervisor:
    """Return another host with `count` pages of 2 MiB on each node."""
    pages = re.compile(r"(<pages unit='KiB' size='2048'>)\d+(</pages>)")
    text, found = pages.subn(rf"\g<1>{count}\g<2>", host.capabilities())
    assert found == 2
    return SimulatedHypervisor(text, tuple(host.devices))


def test_hugepages_are_taken_out_of_ordinary_memory(
    simulated_host: SimulatedHypervisor,
) -> None:
    enrol(order(), "user:tester", with_pages(simulated_host, 128))

    host = Host.objects.get()
    assert host.free_shape == "c2x1 m896 h2048x128|c2x1 m896 h2048x128"
    assert [node.hugepages["2048"] for node in host.nodes.all()] == [128, 128]


def test_hugepages_follow_the_host_while_nobody_is_on_it(
    simulated_host: SimulatedHypervisor,
) -> None:
    enrol(order(), "user:tester", with_pages(simulated_host, 128))

    enrol(order(), "user:tester", with_pages(simulated_host, 64))

    assert Host.objects.get().free_shape == "c2x1 m1024 h2048x64|c2x1 m1024 h2048x64"
    take_memory(Host.objects.get(), 64)
    with pytest.raises(EnrolmentRefused, match="hugepages changed while instances"):
        enrol(order(), "user:tester", with_pages(simulated_host, 32))


def take_memory(host: Host, mib: int) -> None:
    share = NodeShare(0, (), (0,), 1, mib)
    with transaction.atomic():
        free = free_host(lock_host(host.pk).pk)
        claim(free, [share], uuid.uuid4(), Actor("test:take", "a test"))


def test_pages_that_leave_no_memory_are_refused(
    simulated_host: SimulatedHypervisor,
) -> None:
    why = refused(with_pages(simulated_host, 700))

    assert "node 0: 78 MiB of memory beside reserved hugepages, of which 256" in why
