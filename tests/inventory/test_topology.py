"""PCI addresses, documents of a real host, and cards in their groups."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.cards import find_cards, identity_of, sellable
from inventory.exceptions import InvalidXml
from inventory.hypervisor.xml import (
    parse_cpu_set,
    parse_domain,
    parse_function,
    parse_host,
    pci_backends,
    phys_bits,
)
from inventory.topology import FunctionFacts, HostFacts, NodeFacts, PciAddress
from tests.conftest import recorded, recorded_devices

MODELS = {"10de:1e30": "rtx6000"}


def facts() -> HostFacts:
    return parse_host(
        recorded("capabilities-2x2.xml"), list(recorded_devices("pci-2x2-rtx6000.xml"))
    )


def function(address: str, pci: int = 0x1E30, **fields: object) -> FunctionFacts:
    values = {"class_code": 0x030000, "iommu_group": 7, "numa_node": 0, **fields}
    return FunctionFacts(PciAddress.parse(address), 0x10DE, pci, **values)  # type: ignore[arg-type]


def host(
    *functions: FunctionFacts, has_iommu: bool = True, nodes: int = 2
) -> HostFacts:
    cells = tuple(NodeFacts(number, 1024, ()) for number in range(nodes))
    return HostFacts("u", "", "kvm", has_iommu, cells, functions)


def test_pci_address_keeps_its_domain() -> None:
    address = PciAddress.parse("0001:d6:00.0")

    assert (address.domain, address.bus, address.slot, address.function) == (
        1,
        0xD6,
        0,
        0,
    )
    assert str(address) == "0001:d6:00.0"


@pytest.mark.parametrize(
    "text", ["d6:00.0", "0001:d6:00", "0001:d6:20.0", "", "0:1:2.3"]
)
def test_pci_address_refuses_other_forms(text: str) -> None:
    with pytest.raises(ValueError, match="no PCI address"):
        PciAddress.parse(text)


@given(
    st.builds(
        PciAddress,
        domain=st.integers(0, 0xFFFFFFFF),
        bus=st.integers(0, 255),
        slot=st.integers(0, 31),
        function=st.integers(0, 7),
    )
)
def test_pci_address_survives_its_text(address: PciAddress) -> None:
    assert PciAddress.parse(str(address)) == address


def test_host_of_the_virtual_gpu_host() -> None:
    found = facts()

    assert found.host_uuid == "3e8ee270-efbc-5380-9b18-574472d967a6"
    assert found.domain_type == "qemu"
    assert found.has_iommu
    assert [node.memory_mib for node in found.nodes] == [1478, 1445]
    assert [[core.cpus for core in node.cores] for node in found.nodes] == [
        [(0,), (1,)],
        [(2,), (3,)],
    ]
    assert found.nodes[0].hugepages == ((2048, 0), (1048576, 0))


def test_cards_of_the_virtual_gpu_host() -> None:
    findings = find_cards(facts(), MODELS)

    assert [(f.card.slot_path, f.node, f.model, f.problems) for f in findings] == [
        ("0000:21:00", 0, "rtx6000", ()),
        ("0000:22:00", 0, "rtx6000", ()),
        ("0000:61:00", 1, "rtx6000", ()),
        ("0000:62:00", 1, "rtx6000", ()),
    ]


def test_card_takes_all_functions_of_its_slot() -> None:
    card = function("0000:21:00.0")
    audio = function("0000:21:00.1", pci=0x10F7, class_code=0x040300, numa_node=None)

    (finding,) = find_cards(host(card, audio), MODELS)

    assert finding.card.functions == (card, audio)
    assert finding.problems == ()


@pytest.mark.parametrize(
    ("functions", "has_iommu", "expected"),
    [
        ([function("0000:21:00.0")], False, "no IOMMU"),
        ([function("0000:21:00.0", iommu_group=None)], True, "in no IOMMU group"),
        ([function("0000:21:00.0", pci=0x9999)], True, "no known GPU model"),
        ([function("0000:21:00.0", numa_node=None)], True, "no NUMA node"),
        ([function("0000:21:00.0", numa_node=5)], True, "no NUMA node"),
        (
            [
                function("0000:21:00.0"),
                function("0000:22:00.0", pci=1, class_code=0x020000),
            ],
            True,
            "shares its IOMMU group with 0000:22:00.0",
        ),
    ],
)
def test_card_that_cannot_be_sold_says_why(
    functions: list[FunctionFacts], has_iommu: bool, expected: str
) -> None:
    findings = find_cards(host(*functions, has_iommu=has_iommu), MODELS)

    assert sellable(findings) == []
    assert len(findings[0].problems) == 1
    assert expected in findings[0].problems[0]


def test_bridge_in_the_group_is_no_stranger() -> None:
    bridge = function("0000:20:00.0", pci=1, class_code=0x060400)

    (finding,) = find_cards(host(function("0000:21:00.0"), bridge), MODELS)

    assert finding.problems == ()


def test_single_node_board_need_not_report_nodes() -> None:
    (finding,) = find_cards(
        host(function("0000:21:00.0", numa_node=None), nodes=1), MODELS
    )

    assert (finding.node, finding.problems) == (0, ())


def test_identity_is_the_serial_and_weak_without_one() -> None:
    (strong,) = find_cards(host(function("0000:21:00.0", serial="132")), MODELS)
    (weak,) = find_cards(host(function("0000:21:00.0")), MODELS)

    assert identity_of(strong.card, "host-1") == ("10de:1e30 serial 132", False)
    assert identity_of(weak.card, "host-1") == ("host-1 0000:21:00 10de:1e30", True)


def test_serial_number_is_read_from_the_vpd_capability() -> None:
    document = recorded_devices("pci-2x2-rtx6000.xml")[-1].replace(
        "<class>",
        "<capability type='vpd'><name>Quadro</name><fields access='readonly'>"
        "<serial_number>0325018</serial_number></fields></capability><class>",
    )

    assert parse_function(document).serial == "0325018"


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("0-3,^2,8", (0, 1, 3, 8)), ("5,1", (1, 5))],
)
def test_cpu_set_is_read_as_libvirt_writes_it(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpu_set(text) == cpus


@pytest.mark.parametrize(
    "document",
    ["", "<x/>", "<domain/>", "<domain><memory unit='nibble'>1</memory></domain>"],
)
def test_document_that_lacks_its_parts_is_refused(document: str) -> None:
    with pytest.raises(InvalidXml):
        parse_domain(document)


def test_entities_of_a_hostile_host_are_not_resolved() -> None:
    document = (
        "<!DOCTYPE device [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"
        "<device><capability type='pci'><domain>&e;</domain></capability></device>"
    )

    with pytest.raises(InvalidXml):
        parse_function(document)


@given(st.text(max_size=200))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    with pytest.raises(InvalidXml):
        parse_host(text, [])


def test_documents_tell_backends_and_address_width() -> None:
    capabilities = recorded("capabilities-2x2.xml")

    assert phys_bits(capabilities) == 40
    assert phys_bits(capabilities.replace("maxphysaddr", "else")) is None
    assert phys_bits(capabilities.replace("bits='40'", "bits='9999'")) is None
    assert pci_backends("<domainCapabilities/>") == ()
