"""What a host sends that somebody took over: refused by the one error, at bounded cost."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from lxml import etree

from instances.reconcile import reconcile
from inventory.choices import HostConnection
from inventory.exceptions import HostUnreachable, InvalidXml
from inventory.hypervisor import child, xml
from inventory.hypervisor.child import MAX_MEMORY_BYTES
from inventory.hypervisor.supervised import SupervisedHypervisor
from inventory.models import Card
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


@pytest.mark.django_db
def test_host_that_sends_nonsense_sells_nothing_more() -> None:
    host = make_host()
    before = list(Card.objects.values())
    nonsense = CAPABILITIES.replace("<uuid>", "<uuid>no-uuid-")

    reconcile(host.pk, SimulatedHypervisor(nonsense, ()))

    host.refresh_from_db()
    assert host.connection == HostConnection.UNKNOWN
    assert list(Card.objects.values()) == before


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
