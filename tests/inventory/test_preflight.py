"""What a report of a host is judged to mean, on recorded documents and what may differ."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from inventory.cards import find_cards
from inventory.hypervisor.xml import parse_host
from inventory.preflight import (
    CheckLine,
    GuestTrial,
    HostReport,
    Verdict,
    check,
    hint_for,
    is_fit,
    problem_of,
)
from inventory.topology import FunctionFacts, HostFacts, NodeFacts, PciAddress
from tests.conftest import recorded, recorded_devices

PASS, WARN, FAIL = Verdict.PASS, Verdict.WARN, Verdict.FAIL
MODELS = {"10de:1e30": "rtx6000"}
SLOT = "0000:21:00"
GPU = PciAddress.parse(f"{SLOT}.0")


def recorded_facts() -> HostFacts:
    facts = parse_host(
        recorded("capabilities-2x2.xml"),
        list(recorded_devices("pci-2x2-rtx6000.xml")),
    )
    return replace(facts, domain_type="kvm")


def report(facts: HostFacts | None = None, **fields: Any) -> HostReport:
    """Return the report of the recorded host, with KVM and nothing to complain of."""
    facts = facts or recorded_facts()
    values = {
        "uri": "qemu+tls://gpu1.example.net/system",
        "console_pool": "gpucloud-console",
        "facts": facts,
        "cards": tuple(find_cards(facts, MODELS)),
        "versions": (9_000_000, 7_002_000),
        "pci_backends": ("default", "vfio"),
        "pools": {"gpucloud-console": 8 << 30},
        "clock_skew_s": 0.1,
        "phys_bits": 46,
        "bar_mib": {"rtx6000": 24576},
        "trial": GuestTrial(SLOT),
        **fields,
    }
    return HostReport(**values)


def complaints(lines: list[CheckLine]) -> list[tuple[str, Verdict]]:
    return [(line.name, line.verdict) for line in lines if line.verdict is not PASS]


def only(lines: list[CheckLine]) -> CheckLine:
    (line,) = (line for line in lines if line.verdict is not PASS)
    return line


def with_function(facts: HostFacts, address: str, **fields: Any) -> HostFacts:
    """Return the host with one more function like the card's."""
    gpu = next(function for function in facts.functions if function.address == GPU)
    other = replace(gpu, address=PciAddress.parse(address), **fields)
    return replace(facts, functions=tuple(sorted((*facts.functions, other), key=_at)))


def _at(function: FunctionFacts) -> PciAddress:
    return function.address


def changed(facts: HostFacts, **fields: Any) -> HostFacts:
    """Return the host with fields of the first card's function changed."""
    return replace(
        facts,
        functions=tuple(
            replace(function, **fields) if function.address == GPU else function
            for function in facts.functions
        ),
    )


def with_hugepages(facts: HostFacts, count: int) -> HostFacts:
    def reserve(node: NodeFacts) -> NodeFacts:
        return replace(node, hugepages=((1 << 20, count),))

    return replace(facts, nodes=tuple(map(reserve, facts.nodes)))


def test_recorded_host_with_all_in_order_passes_everything() -> None:
    lines = check(report())

    assert complaints(lines) == []
    assert [line.name for line in lines] == [
        "connection",
        "kvm",
        "libvirt",
        "qemu",
        "iommu",
        "cards",
        *(f"card 0000:{bus}:00" for bus in (21, 22, 61, 62)),
        "vfio",
        *["numa"] * 4,
        "hugepages",
        "memlock",
        "interrupt remapping",
        "storage",
        "network",
        "clock",
        "64-bit BARs",
    ]
    assert not any(line.remedy for line in lines)


NO_KVM = replace(recorded_facts(), domain_type="qemu")


@pytest.mark.parametrize(
    ("given", "name", "verdict"),
    [
        (report(NO_KVM), "kvm", FAIL),
        (report(NO_KVM, is_lab=True), "kvm", WARN),
        (report(uri="qemu+tcp://gpu1/system"), "connection", FAIL),
        (report(uri="qemu+tcp://gpu1/system", is_lab=True), "connection", WARN),
        (report(versions=(6_009_000, 7_002_000)), "libvirt", FAIL),
        (report(versions=(7_008_000, 7_002_000)), "libvirt", WARN),
        (report(versions=(9_000_000, 5_001_000)), "qemu", FAIL),
        (report(replace(recorded_facts(), has_iommu=False)), "iommu", FAIL),
        (report(changed(recorded_facts(), iommu_group=None)), "iommu", FAIL),
        (report(pci_backends=("default",)), "vfio", FAIL),
        (report(changed(recorded_facts(), numa_node=None)), "numa", FAIL),
        (report(pools={"gpucloud-console": None}), "storage", WARN),
        (report(pools={"gpucloud-console": 1 << 20}), "storage", WARN),
        (report(networks={"default": False}), "network", WARN),
        (report(clock_skew_s=-61.0), "clock", WARN),
        (report(clock_skew_s=None), "clock", WARN),
        (report(phys_bits=None), "64-bit BARs", WARN),
        (report(phys_bits=39), "64-bit BARs", WARN),
        (report(phys_bits=36), "64-bit BARs", FAIL),
    ],
)
def test_one_thing_wrong_is_one_line_with_a_remedy(
    given: HostReport, name: str, verdict: Verdict
) -> None:
    lines = check(given)

    assert complaints(lines) == [(name, verdict)]
    assert only(lines).remedy
    assert is_fit(lines) is (verdict is WARN)


def test_stranger_in_the_group_is_named_with_its_driver() -> None:
    facts = recorded_facts()
    group = next(f.iommu_group for f in facts.functions if f.address == GPU)
    shared = with_function(
        facts,
        "0000:23:00.0",
        iommu_group=group,
        class_code=0x020000,
        vendor_id=0x15B3,
        device_id=0x1017,
        driver="mlx5_core",
    )

    line = only(check(report(shared)))

    assert (line.name, line.verdict) == (f"card {SLOT}", FAIL)
    assert line.text == (
        f"0000:23:00.0 (15b3:1017, mlx5_core) shares its IOMMU group {group}"
    )
    assert "ACS" in line.remedy


def test_driver_of_the_host_on_a_function_names_all_ids_for_vfio() -> None:
    audio = with_function(
        recorded_facts(),
        f"{SLOT}.1",
        class_code=0x040300,
        device_id=0x10F7,
        driver="snd_hda_intel",
    )

    line = only(check(report(audio)))

    assert (line.name, line.verdict) == (f"card {SLOT}", WARN)
    assert line.text.startswith(f"{SLOT}.1 (10de:10f7), IOMMU group 13: ")
    assert "snd_hda_intel" in line.text
    assert "vfio-pci.ids=10de:10f7,10de:1e30," in line.remedy


def test_card_that_vfio_has_already_passes() -> None:
    lines = check(report(changed(recorded_facts(), driver="vfio-pci")))

    assert complaints(lines) == []
    assert f"{GPU} (10de:1e30), IOMMU group 13: vfio-pci" in [x.text for x in lines]


def test_pci_domain_is_kept_in_every_text() -> None:
    far = with_function(
        recorded_facts(), "0001:d6:00.0", iommu_group=99, driver="nvidia"
    )

    lines = check(report(far))

    assert only(lines).name == "card 0001:d6:00"
    assert "0001:d6:00.0 (10de:1e30), IOMMU group 99" in only(lines).text
    assert "0001:d6:00 is on node 0" in [line.text for line in lines]


@pytest.mark.parametrize(("free", "verdicts"), [(16, []), (3, [WARN, WARN])])
def test_hugepages_that_are_reserved_but_not_free_are_a_warning(
    free: int, verdicts: list[Verdict]
) -> None:
    facts = with_hugepages(recorded_facts(), 16)
    pages = {(node, 1 << 20): free for node in (0, 1)}

    lines = check(report(facts, free_pages=pages))

    assert complaints(lines) == [("hugepages", verdict) for verdict in verdicts]
    texts = [line.text for line in lines if line.name == "hugepages"]
    assert texts == [
        f"node {node}: {free} of 16 pages of 1048576 KiB are free" for node in (0, 1)
    ]


def test_unknown_cards_of_one_id_share_a_line_and_the_board_console_has_none() -> None:
    facts = with_function(
        recorded_facts(), "0000:02:00.0", vendor_id=0x1A03, device_id=0x2000
    )
    cards = tuple(find_cards(facts, {}))

    lines = [line for line in check(report(facts, cards=cards)) if line.name == "cards"]

    assert [line.verdict for line in lines] == [FAIL, WARN]
    assert lines[1].text == (
        "10de:1e30 is no known GPU model: 0000:21:00.0, 0000:22:00.0, 0000:61:00.0, "
        "0000:62:00.0"
    )


def test_what_libvirt_does_not_tell_is_a_warning_that_names_its_proof() -> None:
    lines = check(report(trial=None))

    assert complaints(lines) == [("memlock", WARN), ("interrupt remapping", WARN)]
    assert all(
        "proven by --start-guest, and by the test of every card after enrolment"
        in line.text
        for line in lines
        if line.verdict is WARN
    )


def test_error_of_vfio_is_quoted_with_a_hint() -> None:
    error = "vfio 0000:21:00.0: group 13 is not viable"

    lines = check(report(trial=GuestTrial(SLOT, error)))

    assert lines[-5].name == "guest"
    assert (lines[-5].verdict, lines[-5].text) == (FAIL, f"{SLOT}: {error}")
    assert "ACS" in lines[-5].remedy
    assert [line.verdict for line in lines[-7:-5]] == [WARN, WARN]


def test_guest_that_was_not_tried_is_no_failure_but_one_that_stays_is() -> None:
    assert is_fit(check(report(trial=GuestTrial("", "not tried: no spare card"))))
    assert not is_fit(check(report(trial=GuestTrial(SLOT, "", "it is still there"))))


@pytest.mark.parametrize(
    ("problem", "word"),
    [
        (
            "vfio_dma_map(0x55, 0x0, 0x80000000) = -12 (Cannot allocate memory)",
            "MEMLOCK",
        ),
        ("Failed to set iommu for container: Operation not permitted", "remapping"),
        ("PCI device 0000:21:00.0 is in use by driver QEMU, domain x", "virsh list"),
        ("Failed to load PCI driver module vfio-pci", "modprobe"),
        ("could not open kernel file '/nowhere': No such file", "--kernel"),
        ("something else", "dmesg"),
    ],
)
def test_hint_fits_the_error(problem: str, word: str) -> None:
    assert word in hint_for(problem)


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        ("qemu+tls://gpu1/system", "16514"),
        ("qemu+ssh://gpu1/system", "known_hosts"),
        ("qemu+libssh2://gpu1/system", "known_hosts"),
        ("qemu+tcp://gpu1/system", "16509"),
        ("qemu:///system", "group libvirt"),
        ("gpu1", "Name a QEMU host"),
    ],
)
def test_silence_is_one_line_with_the_remedy_of_its_transport(
    uri: str, word: str
) -> None:
    (line,) = check(HostReport(uri, unreachable="no route to host"))

    assert (line.name, line.verdict, line.text) == (
        "connection",
        FAIL,
        "no route to host",
    )
    assert word in line.remedy


@pytest.mark.parametrize(
    ("uri", "is_fine"),
    [
        ("qemu+tls://gpu1/system?no_verify=0", True),
        ("qemu:///system", True),
        ("test:///default", False),
        ("qemu+ssh://gpu1/system?command=/bin/sh", False),
        ("qemu+ssh://gpu1/system?no_tty=1&COMMAND=/bin/sh", False),
        ("qemu+ssh://gpu1/system?keyfile=k&%63ommand=/bin/sh", False),
    ],
)
def test_only_addresses_of_qemu_hosts_are_opened(uri: str, is_fine: bool) -> None:
    assert (problem_of(uri) == "") is is_fine


QUESTIONS: list[tuple[str, str, Verdict]] = [
    ("facts", "what the host is made of", FAIL),
    ("versions", "versions", WARN),
    ("pci_backends", "vfio", WARN),
    ("free_pages", "hugepages", WARN),
    ("pools", "storage", WARN),
    ("networks", "network", WARN),
    ("clock", "clock", WARN),
]


@pytest.mark.parametrize(("question", "name", "verdict"), QUESTIONS)
def test_refused_question_is_one_line(
    question: str, name: str, verdict: Verdict
) -> None:
    make: Callable[..., HostReport] = report
    refused = make(refusals={question: "access denied"})

    line = only(check(refused))

    assert (line.name, line.verdict) == (name, verdict)
    assert line.text == "not answered: access denied"


def test_host_without_any_answer_is_judged_all_the_same() -> None:
    refusals = dict.fromkeys((question for question, _, _ in QUESTIONS), "denied")

    lines = check(HostReport("qemu+tls://gpu1/system", refusals=refusals))

    assert len(lines) == 1 + len(QUESTIONS) + 2
    assert not is_fit(lines)
