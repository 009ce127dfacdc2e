"""The domain document: what it says, and that a difference from it is seen."""

import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from instances.domain_devices import Disk, Nic
from instances.domain_record import (
    DomainRecord,
    HeldNode,
    InstanceRecord,
    read_record,
)
from instances.domain_xml import DomainSpec, GuestCell, build_domain, differences
from inventory.hypervisor.xml import (
    filters_named_in,
    parse_domain,
)
from inventory.topology import PciAddress


def address(bus: int, function: int = 0) -> PciAddress:
    return PciAddress(0, bus, 0, function)


ONE = GuestCell(0, (0, 1), (0, 1), 512, ((address(0x21),),))
TWO = GuestCell(1, (4,), (4, 5), 256, ((address(0x61),), (address(0x62),)))


RECORD = InstanceRecord(
    number=7,
    account_number=3,
    plan="g1-gpu",
    region="us-east",
    image="gpucloud/probe",
    uuid=uuid.UUID("6f1c2a7e-0001-4000-8000-000000000001"),
    account_uuid=uuid.UUID("6f1c2a7e-0002-4000-8000-000000000001"),
    label="render",
)


def spec(*cells: GuestCell, **fields: object) -> DomainSpec:
    values = {
        "uuid": "6f1c2a7e-0001-4000-8000-000000000001",
        "name": "gpucloud-1",
        "title": "render (Studio)",
        "domain_type": "kvm",
        "cells": cells,
        "kernel_path": "/k",
        "record": RECORD,
        **fields,
    }
    return DomainSpec(**values)  # type: ignore[arg-type]


def test_one_node_guest() -> None:
    live = parse_domain(build_domain(spec(ONE)))

    assert live.hostdevs == (address(0x21),)
    assert live.vcpu_pins == {0: (0,), 1: (1,)}
    assert (live.memory_mib, live.vcpus, live.memory_nodes) == (512, 2, (0,))
    assert live.cells == {}


def test_split_guest_sees_each_card_at_its_node() -> None:
    live = parse_domain(build_domain(spec(ONE, TWO)))

    assert live.memory_mib == 768
    assert live.vcpu_pins == {0: (0,), 1: (1,), 2: (4,)}
    assert live.memory_nodes == (0, 1)
    assert live.cells == {0: (0, 512), 1: (1, 256)}
    assert live.hostdev_cells == {address(0x21): 0, address(0x61): 1, address(0x62): 1}


def test_idle_sibling_may_run_the_emulator_and_no_vcpu() -> None:
    root = etree.fromstring(build_domain(spec(TWO)))

    pins = [pin.get("cpuset") for pin in root.findall("cputune/vcpupin")]
    emulator = root.find("cputune/emulatorpin")
    assert pins == ["4"]
    assert emulator is not None
    assert emulator.get("cpuset") == "4,5"


def test_functions_of_one_card_stay_in_one_guest_slot() -> None:
    card = (address(0x21, 0), address(0x21, 1))
    root = etree.fromstring(build_domain(spec(replace(ONE, cards=(card,)))))

    guest = [dev.find("address") for dev in root.findall("devices/hostdev")]
    assert [
        (a.get("bus"), a.get("slot"), a.get("function"), a.get("multifunction"))
        for a in guest
        if a is not None
    ] == [
        ("0x1", "0x0", "0x0", "on"),
        ("0x1", "0x0", "0x1", None),
    ]


def test_controller_indexes_are_contiguous() -> None:
    root = etree.fromstring(build_domain(spec(ONE, TWO)))

    indexes = [
        int(c.get("index", "")) for c in root.findall("devices/controller[@type='pci']")
    ]
    assert indexes == list(range(len(indexes)))


def test_metadata_names_what_rows_could_be_rebuilt_from() -> None:
    live = parse_domain(build_domain(spec(ONE, TWO)))

    assert read_record(live.instance_record) == DomainRecord(
        2,
        RECORD,
        (
            HeldNode(0, (0, 1), 2, 512, 0, ("0000:21:00",)),
            HeldNode(1, (4, 5), 1, 256, 0, ("0000:61:00", "0000:62:00")),
        ),
    )


@given(st.text(max_size=80))
def test_no_label_breaks_the_document(title: str) -> None:
    try:
        document = build_domain(spec(ONE, title=title))
    except ValueError:
        assert any(ord(c) < 32 or 0xD800 <= ord(c) <= 0xFFFF for c in title)
        return
    assert parse_domain(document).hostdevs == (address(0x21),)
    found = etree.fromstring(document).findtext("title") or ""
    assert found.replace("\r", "\n") == title.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"hostdevs": ()}, "cards"),
        ({"hostdevs": (address(0x22),)}, "cards"),
        ({"vcpu_pins": {0: (0,), 1: (0,)}}, "CPU pins"),
        ({"vcpu_pins": {}}, "CPU pins"),
        ({"memory_nodes": (1,)}, "memory nodes"),
        ({"memory_mib": 1}, "memory, MiB"),
        ({"uuid": str(uuid.uuid4())}, "UUID"),
    ],
)
def test_each_difference_from_the_claim_is_named(
    change: dict[str, object], what: str
) -> None:
    live = parse_domain(build_domain(spec(ONE)))

    assert differences(spec(ONE), live) == []
    (found,) = differences(spec(ONE), replace(live, **change))  # type: ignore[arg-type]
    assert found.startswith(f"{what}: claimed ")


def test_card_at_the_wrong_guest_node_is_seen() -> None:
    live = parse_domain(build_domain(spec(ONE, TWO)))
    moved = {**live.hostdev_cells, address(0x21): 1}

    (found,) = differences(spec(ONE, TWO), replace(live, hostdev_cells=moved))

    assert found.startswith("nodes of the cards: claimed")


def test_hugepages_are_asked_for_and_seen_again() -> None:
    paged = spec(ONE, hugepage_kib=2048)

    document = build_domain(paged)

    page = etree.fromstring(document).find("memoryBacking/hugepages/page")
    assert page is not None
    assert dict(page.attrib) == {"size": "2048", "unit": "KiB"}
    assert differences(paged, parse_domain(document)) == []
    assert differences(spec(ONE), parse_domain(document)) == [
        "hugepages, KiB: claimed 0, running with 2048"
    ]


DISKS = (
    Disk("disks", "u.qcow2", "qcow2"),
    Disk("disks", "u-seed.iso", "raw", is_read_only=True),
)
NIC = Nic("network", "guests", "02:67:0a:00:00:05", "10.0.0.5")


def test_guest_with_a_disk_boots_from_it_and_reads_its_seed() -> None:
    root = etree.fromstring(build_domain(spec(ONE, kernel_path="", disks=DISKS)))

    disks = [
        (
            disk.find("target").get("dev"),
            disk.find("source").get("volume"),
            disk.find("driver").get("type"),
            disk.find("boot").get("order"),
            disk.find("readonly") is not None,
        )
        for disk in root.findall("devices/disk")
    ]
    assert disks == [
        ("vda", "u.qcow2", "qcow2", "1", False),
        ("vdb", "u-seed.iso", "raw", "2", True),
    ]
    assert root.find("os/kernel") is None


def test_network_card_is_held_by_the_guests_own_filter() -> None:
    bridged = replace(NIC, kind="bridge", source="br0")
    for nic, source in ((NIC, {"network": "guests"}), (bridged, {"bridge": "br0"})):
        root = etree.fromstring(build_domain(spec(ONE, nic=nic)))

        (card,) = root.findall("devices/interface")
        assert card.get("type") == nic.kind
        assert card.find("source").attrib == source
        assert card.find("mac").get("address") == "02:67:0a:00:00:05"
        assert filters_named_in(build_domain(spec(ONE, nic=nic))) == {
            "gpucloud-6f1c2a7e-0001-4000-8000-000000000001"
        }
