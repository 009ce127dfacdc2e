"""What a host sends that somebody took over: refused by the one error, at bounded cost."""

import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from lxml import etree

from instances.cloud_init import Seed, files_of, keys_in, seed_files, seed_image
from instances.reconcile import reconcile
from inventory.choices import HostConnection
from inventory.console_report import (
    Expectation,
    bytes_covered,
    is_complete,
    problems_of_scrub,
    problems_of_test,
)
from inventory.exceptions import HostUnreachable, HypervisorError, InvalidXml
from inventory.hypervisor import child, xml
from inventory.hypervisor.child import MAX_MEMORY_BYTES
from inventory.hypervisor.port import DomainState
from inventory.hypervisor.supervised import SupervisedHypervisor
from inventory.hypervisor.volume_bytes import receive
from inventory.models import Card, Discrepancy
from inventory.observation import MAX_DOMAINS
from tests.builders import make_host
from tests.conftest import recorded, recorded_devices
from tests.simulated import SimulatedHypervisor

Parse = Callable[[str], object]
CAPABILITIES = recorded("capabilities-2x2.xml")
DEVICE = recorded_devices("pci-2x2-rtx6000.xml")[-1]
DOMAIN = """
<domain type='kvm'>
  <uuid>6b1ba31c-4c7c-4f5e-8a58-4c7a4e2f9a10</uuid>
  <memory unit='KiB'>1048576</memory>
  <memoryBacking><hugepages><page size='1048576' unit='KiB'/></hugepages></memoryBacking>
  <vcpu placement='static'>2</vcpu>
  <cputune><vcpupin vcpu='0' cpuset='0-1'/><vcpupin vcpu='1' cpuset='2,^3'/></cputune>
  <numatune>
    <memory mode='strict' nodeset='0'/><memnode cellid='0' mode='strict' nodeset='0'/>
  </numatune>
  <cpu><numa><cell id='0' cpus='0-1' memory='1048576' unit='KiB'/></numa></cpu>
  <devices>
    <controller type='pci' index='1' model='pcie-expander-bus'>
      <target busNr='180'><node>0</node></target>
    </controller>
    <controller type='pci' index='2' model='pcie-root-port'>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
    </controller>
    <hostdev type='pci'>
      <source><address domain='0x0000' bus='0x21' slot='0x00' function='0x0'/></source>
      <address type='pci' domain='0x0000' bus='0x02' slot='0x00' function='0x0'/>
    </hostdev>
    <interface type='network'><filterref filter='gpucloud-1'/></interface>
  </devices>
</domain>
"""
PARSERS: dict[str, tuple[str, list[Parse]]] = {
    "capabilities": (CAPABILITIES, [lambda d: xml.parse_host(d, []), xml.phys_bits]),
    "device": (
        DEVICE,
        [xml.parse_function, lambda d: xml.parse_host(CAPABILITIES, [d, d])],
    ),
    "domain": (DOMAIN, [xml.parse_domain, xml.filters_named_in]),
    "domainCapabilities": ("<domainCapabilities/>", [xml.pci_backends]),
}
# What numbers, sets and names may be of somebody who looks for a crash.
VALUES = st.one_of(
    st.sampled_from(
        [
            *("", " ", "-1", "-0x1", "1_0", "1e9", "NaN", "0x", "٣", "9" * 5000),
            *(
                "0x" + "f" * 5000,
                str(2**31),
                str(2**63),
                "^3",
                "3-1",
                "0-4095",
                "-",
                ",",
            ),
            *(
                "0-99999999",
                ",".join(["0-4095"] * 500),
                "x" * 200,
                "\u202e",
                "&#x10ffff;",
            ),
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=20),
)


def refusal(parse: Parse, document: str) -> str:
    """Return why a document is refused, which goes into logs and onto pages; or nothing."""
    try:
        parse(document)
    except InvalidXml as refused:
        return str(refused)
    return ""


def leaves(root: etree._Element) -> list[tuple[etree._Element, str | None]]:
    """Return each text and each attribute of a document, as (element, attribute)."""
    return [
        (element, name)
        for element in root.iter(etree.Element)
        for name in [*([None] if element.text else []), *map(str, element.attrib)]
    ]


@pytest.mark.parametrize("kind", ["capabilities", "device", "domain"])
@given(data=st.data())
@hypothesis_settings(max_examples=150)
def test_no_word_in_a_document_raises_anything_else(
    kind: str, data: st.DataObject
) -> None:
    document, parsers = PARSERS[kind]
    root = etree.fromstring(document.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        # Again each time: an element may have gone.
        element, name = data.draw(st.sampled_from(leaves(root)))
        match data.draw(st.sampled_from(["value", "value", "gone", "twice"])):
            case "value" if name is None:
                element.text = data.draw(VALUES)
            case "value":
                element.set(name, data.draw(VALUES))
            case "gone" if (parent := element.getparent()) is not None:
                parent.remove(element)
            case "twice" if (parent := element.getparent()) is not None:
                parent.append(etree.fromstring(etree.tostring(element)))
    for parse in parsers:
        assert len(refusal(parse, etree.tostring(root, encoding="unicode"))) < 1000


@pytest.mark.parametrize("kind", PARSERS)
@given(text=st.text(st.characters(), max_size=60))
def test_no_text_at_all_raises_anything_else(kind: str, text: str) -> None:
    for parse in PARSERS[kind][1]:
        for document in (text, f"<{kind}>{text}</{kind}>"):
            refusal(parse, document)


LAUGHS = "".join(
    f'<!ENTITY {one} "{f"&{other};" * 10}">'
    for one, other in zip("bcdefghi", "abcdefgh", strict=True)
)


@pytest.mark.parametrize(
    "subset",
    [
        '<!ENTITY e "one">',
        '<!ENTITY e SYSTEM "file:///etc/passwd">',
        '<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd"> %p;',
        f'<!ENTITY a "ha"> {LAUGHS} <!ENTITY e "&i;">',
    ],
)
def test_document_that_defines_entities_is_refused(subset: str) -> None:
    """In an attribute the library resolves them, whatever it is told."""
    body = DOMAIN.strip().replace(
        "gpucloud-1", "&e;" if "<!ENTITY e" in subset else "x"
    )

    with pytest.raises(InvalidXml):
        xml.filters_named_in(f"<!DOCTYPE domain [{subset}]>{body}")


CPUS_EACH = "".join(
    f'<vcpupin vcpu="{vcpu}" cpuset="0-4095"/>' for vcpu in range(20_000)
)


@pytest.mark.parametrize(
    "document",
    [
        # 17 GB of numbers, and hours of adding one set to another, in some 100 KB.
        DOMAIN.replace("<cputune>", f"<cputune>{CPUS_EACH}"),
        DOMAIN.replace(
            "0-1", ",".join(f"{n * 4097}-{n * 4097 + 4096}" for n in range(9999))
        ),
        DOMAIN.replace("1048576", "9" * 4000),
        DOMAIN.replace("nodeset='0'", "nodeset='^0'"),
        f"<domain>{' ' * xml.MAX_DOCUMENT_BYTES}</domain>",
    ],
)
def test_document_that_would_take_memory_or_time_is_refused(document: str) -> None:
    with pytest.raises(InvalidXml):
        xml.parse_domain(document)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("<uuid>", "<uuid>no-uuid-"),
        lambda text: text.replace("<cell id='1'", "<cell id='0'"),
        lambda text: text.replace("siblings='1'", "siblings='0-2'"),
    ],
)
def test_capabilities_that_cannot_be_are_refused(change: Callable[[str], str]) -> None:
    assert change(CAPABILITIES) != CAPABILITIES

    with pytest.raises(InvalidXml):
        xml.parse_host(change(CAPABILITIES), [])


@pytest.mark.parametrize(("length", "is_told"), [(100, True), (101, False)])
def test_serial_number_without_end_is_none(length: int, is_told: bool) -> None:
    """A device of whatever kind must not make its host unreadable."""
    serial = "9" * length
    vpd = f"<fields><serial_number>{serial}</serial_number></fields>"
    document = DEVICE.replace(
        "<class>", f"<capability type='vpd'>{vpd}</capability><class>"
    )

    assert xml.parse_function(document).serial == (serial if is_told else None)


@pytest.mark.django_db
def test_host_that_sends_nonsense_sells_nothing_more() -> None:
    host = make_host()
    before = list(Card.objects.values())
    nonsense = CAPABILITIES.replace("<uuid>", "<uuid>no-uuid-")

    reconcile(host.pk, SimulatedHypervisor(nonsense, ()))

    host.refresh_from_db()
    assert host.connection == HostConnection.UNKNOWN
    assert list(Card.objects.values()) == before


@pytest.mark.django_db
def test_host_that_makes_up_domains_fills_no_table() -> None:
    host = make_host()
    made_up = {str(uuid4()): "<domain/>" for _ in range(MAX_DOMAINS + 1)}

    class Crowd(SimulatedHypervisor):
        def domains(self) -> dict[str, DomainState]:
            return dict.fromkeys(made_up, DomainState.RUNNING)

        def domain_documents(self) -> dict[str, str]:
            return made_up

    reconcile(host.pk, Crowd(CAPABILITIES, ()))

    host.refresh_from_db()
    assert host.connection == HostConnection.UNKNOWN
    assert not Discrepancy.objects.exists()


def test_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    hypervisor = SupervisedHypervisor("test:///default")
    with monkeypatch.context() as patched:
        patched.setattr(child, "MAX_ANSWER_BYTES", 1000)
        with pytest.raises(HostUnreachable, match="more than"):
            hypervisor.capabilities()

    assert "<capabilities>" in hypervisor.capabilities()
    driver = hypervisor._child
    assert driver is not None
    limits = Path(f"/proc/{driver._process.pid}/limits").read_text()
    assert str(MAX_MEMORY_BYTES) in limits
    hypervisor.close()


class Flood:
    """A volume, its connection and its stream: all of a host that does not end to send."""

    def newStream(self) -> "Flood":  # noqa: N802 -- libvirt's name
        return self

    def download(self, *_: object) -> None:
        pass

    def recvAll(  # noqa: N802 -- libvirt's name
        self, keep: Callable[[object, bytes, None], None], _: None
    ) -> None:
        while True:
            keep(self, b"x" * 65536, None)


def test_volume_that_does_not_end_is_cut_off() -> None:
    with pytest.raises(HypervisorError, match="more than the 100000 bytes"):
        receive(Flood(), Flood(), 0, 100_000)


@pytest.fixture
def in_time() -> Iterator[None]:
    """Break off what would go on for an hour."""

    def too_late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


LARGEST_CONSOLE = 1 << 20


@pytest.mark.parametrize(
    "console",
    [
        "SCRUBBED " + "a" * LARGEST_CONSOLE,
        "SCRUBBED bytes=" + "9" * 5000 + " bad=0 left=0",
        "SCRUBBED " + "a=" * (LARGEST_CONSOLE // 2),
    ],
)
def test_console_that_is_no_report_is_refused_at_once(
    in_time: None, console: str
) -> None:
    expected = Expectation(("10de:1e30",), 4096)

    assert problems_of_scrub(console, expected)
    assert problems_of_test(console, expected)
    assert bytes_covered(console) is None


@given(
    console=st.text(st.characters(), max_size=200), word=st.sampled_from(["", "CARD "])
)
def test_no_console_raises(console: str, word: str) -> None:
    for text in (console, f"{word}{console}", f"CARD-CHECK-DONE {console}\n"):
        assert problems_of_test(text, Expectation(("10de:1e30",), 1, 1, 1, 1))
        bytes_covered(text)
        is_complete(text)


SEED = seed_image(seed_files(Seed("i-1", "web", ("ssh-ed25519 AAAA x",))))


@given(data=st.data())
@hypothesis_settings(max_examples=300)
def test_no_seed_that_a_host_gives_back_raises(data: st.DataObject) -> None:
    image = bytearray(SEED)
    for _ in range(data.draw(st.integers(1, 20))):
        # Behind the 16 sectors that ISO 9660 leaves empty.
        at = data.draw(st.integers(32768, len(image) - 1))
        image[at] = data.draw(st.integers(0, 255))
    files = files_of(bytes(image[: data.draw(st.sampled_from([len(image), 40000]))]))
    assert files is None or "meta-data" in files


def test_seed_with_a_broken_name_is_none() -> None:
    assert b";1" in SEED
    assert files_of(SEED.replace(b";1", b";\xff")) is None


LAUGH = "".join(
    f"{one}: &{one} [{f'*{two},' * 9}]\n" for one, two in pairwise("hgfedcba")
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "public-keys",
        "public-keys: {a: b}",
        "public-keys: [[a]]",
        "public-keys: " + "[" * 5000,
        f"a: &a {'x' * 1000}\npublic-keys: [{'*a,' * 1000}]",
        "a: &a [x]\n" + "\n".join(reversed(LAUGH.splitlines())) + "\npublic-keys: *h",
        "\x00",
        "x" * (1 << 20) + ": []",
    ],
)
def test_keys_of_a_seed_that_was_changed_are_refused(in_time: None, text: str) -> None:
    with pytest.raises(ValueError, match="meta-data: "):
        keys_in({"meta-data": text.encode()})


def test_merges_of_a_seed_do_not_grow(in_time: None) -> None:
    """The safe loader makes 9 to the 9 of it."""
    names = "abcdefghi"
    lines = ["a: &a {k: v}"]
    lines += [
        f"{two}: &{two} {{<<: [{f'*{one},' * 9}]}}" for one, two in pairwise(names)
    ]

    assert keys_in(
        {"meta-data": "\n".join([*lines, "public-keys: [key]"]).encode()}
    ) == ("key",)
