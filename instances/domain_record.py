"""What a domain's document tells of its instance, so that its rows can be rebuilt; pure.

Version 2 tells what the instance holds, too; version 1 did not, and told accounts by their
number alone, which a restored database may give to somebody else.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from lxml import etree

from inventory.hypervisor.xml import METADATA_NAMESPACE

VERSION = 2
# Read from a host, which is not trusted to send what we wrote.
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
_SLUG = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_./]{0,99}")
_SLOT = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}")
_LABEL = re.compile(r"[^\x00-\x1f\x7f]{1,64}")
_DIGITS = re.compile(r"[0-9]{1,18}")
_SMALL, _INTEGER, _BIG = 2**15 - 1, 2**31 - 1, 2**63 - 1
_MOST_NODES, _MOST_CPUS, _MOST_CARDS = 64, 4096, 64


@dataclass(frozen=True, slots=True)
class HeldNode:
    """What an instance holds on one NUMA node.

    cpus: as in the claim, core by core; the first `vcpus` run the guest's. hugepage_kib: 0
    for ordinary memory. slots: of its cards, such as 0000:21:00.
    """

    node: int
    cpus: tuple[int, ...]
    vcpus: int
    memory_mib: int
    hugepage_kib: int
    slots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """An instance's row, as far as its domain tells it.

    number: its id. uuid, account_uuid, label: None in version 1. plan, region, image: slugs.
    """

    number: int
    account_number: int
    plan: str
    region: str
    image: str
    uuid: UUID | None = None
    account_uuid: UUID | None = None
    label: str | None = None
    generation: int = 1
    claim_set: int = 1


@dataclass(frozen=True, slots=True)
class DomainRecord:
    """nodes: sorted by number; none in version 1."""

    version: int
    instance: InstanceRecord
    nodes: tuple[HeldNode, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A document of ours that nobody can read. why: a clause for people."""

    why: str


class _Wrong(ValueError):
    """What is wrong with a document."""


def element_of(instance: InstanceRecord, nodes: Iterable[HeldNode]) -> etree._Element:
    """Return the element of a domain's metadata that tells of its instance."""
    root = etree.Element(_tag("instance"), nsmap={"gpucloud": METADATA_NAMESPACE})
    told = {
        "version": VERSION,
        "uuid": instance.uuid,
        "id": instance.number,
        "label": instance.label,
        "account": instance.account_number,
        "account_uuid": instance.account_uuid,
        "plan": instance.plan,
        "region": instance.region,
        "image": instance.image,
        "generation": instance.generation,
        "claim_set": instance.claim_set,
    }
    for name, value in told.items():
        root.set(name, str(value))
    for node in nodes:
        part = etree.SubElement(root, _tag("node"))
        part.set("number", str(node.node))
        # In the claim's order, which libvirt's notation of a set would lose.
        part.set("cpus", ",".join(map(str, node.cpus)))
        part.set("vcpus", str(node.vcpus))
        part.set("memory_mib", str(node.memory_mib))
        part.set("hugepage_kib", str(node.hugepage_kib))
        for slot in node.slots:
            etree.SubElement(part, _tag("card")).set("slot", slot)
    return root


def read_record(text: str) -> DomainRecord | Unreadable | None:
    """Read what element_of() wrote, of any version; None: nothing of ours is there.

    text: as in LiveDomain.instance_record. Never raises.
    """
    if not text:
        return None
    try:
        return _record(etree.fromstring(text, _PARSER))
    except _Wrong as error:
        return Unreadable(str(error))
    except (etree.XMLSyntaxError, ValueError) as error:
        return Unreadable(f"it is no XML: {error}"[:200])


def _record(root: etree._Element) -> DomainRecord:
    version = _number(root, "version", _SMALL)
    if version not in (1, VERSION):
        raise _Wrong(f"version {version} is not known here")
    is_old = version == 1
    instance = InstanceRecord(
        number=_number(root, "id", _BIG, least=1),
        account_number=_number(root, "account", _BIG, least=1),
        plan=_text(root, "plan", _SLUG),
        region=_text(root, "region", _SLUG),
        image=_text(root, "image", _SLUG),
        uuid=None if is_old else _uuid(root, "uuid"),
        account_uuid=None if is_old else _uuid(root, "account_uuid"),
        label=None if is_old else _text(root, "label", _LABEL),
        generation=1 if is_old else _number(root, "generation", _INTEGER, least=1),
        claim_set=1 if is_old else _number(root, "claim_set", _SMALL, least=1),
    )
    return DomainRecord(version, instance, () if is_old else _nodes(root))


def _nodes(root: etree._Element) -> tuple[HeldNode, ...]:
    parts = root.findall(_tag("node"))
    if not 1 <= len(parts) <= _MOST_NODES:
        raise _Wrong(f"{len(parts)} nodes")
    nodes = sorted(map(_node, parts), key=lambda node: node.node)
    _need_once([node.node for node in nodes], "node")
    _need_once([slot for node in nodes for slot in node.slots], "card")
    return tuple(nodes)


def _node(part: etree._Element) -> HeldNode:
    told = _attribute(part, "cpus").split(",", _MOST_CPUS)
    cpus = tuple(_integer(word, "cpus", _SMALL, 0) for word in told)
    _need_once(cpus, "CPU")
    slots = tuple(
        _text(card, "slot", _SLOT) for card in part.findall(_tag("card"))[:_MOST_CARDS]
    )
    return HeldNode(
        node=_number(part, "number", _SMALL),
        cpus=cpus,
        vcpus=_number(part, "vcpus", len(cpus), least=1),
        memory_mib=_number(part, "memory_mib", _INTEGER, least=1),
        hugepage_kib=_number(part, "hugepage_kib", _INTEGER),
        slots=slots,
    )


def _need_once(values: Iterable[object], what: str) -> None:
    values = list(values)
    if len(set(values)) != len(values):
        raise _Wrong(f"a {what} is told twice")


def _attribute(element: etree._Element, name: str) -> str:
    value = element.get(name)
    if value is None:
        raise _Wrong(f"{name} is missing")
    return str(value)


def _number(element: etree._Element, name: str, most: int, *, least: int = 0) -> int:
    return _integer(_attribute(element, name), name, most, least)


def _integer(word: str, name: str, most: int, least: int) -> int:
    value = int(word) if _DIGITS.fullmatch(word) else -1
    if not least <= value <= most:
        raise _Wrong(f"{name} is {word[:40]!r}, not a number from {least} to {most}")
    return value


def _text(element: etree._Element, name: str, form: re.Pattern[str]) -> str:
    value = _attribute(element, name)
    if not form.fullmatch(value):
        raise _Wrong(f"{name} is {value[:40]!r}")
    return value


def _uuid(element: etree._Element, name: str) -> UUID:
    value = _attribute(element, name)
    try:
        return UUID(value)
    except ValueError as error:
        raise _Wrong(f"{name} is {value[:40]!r}, no UUID") from error


def _tag(name: str) -> str:
    return f"{{{METADATA_NAMESPACE}}}{name}"
