"""What domains tell of their instances: it comes back whole, and no text of a host harms."""

import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from instances.domain_record import (
    DomainRecord,
    HeldNode,
    InstanceRecord,
    Unreadable,
    element_of,
    read_record,
)
from inventory.hypervisor.xml import METADATA_NAMESPACE

slugs = st.from_regex(r"[a-z0-9][-a-z0-9_./]{0,30}", fullmatch=True)
instances = st.builds(
    InstanceRecord,
    number=st.integers(1, 2**63 - 1).filter(lambda n: n < 10**18),
    account_number=st.integers(1, 10**17),
    plan=slugs,
    region=slugs,
    image=slugs,
    uuid=st.uuids(),
    account_uuid=st.uuids(),
    label=st.from_regex(r"[A-Za-z0-9][-A-Za-z0-9_.]{2,60}", fullmatch=True),
    generation=st.integers(1, 2**31 - 1),
    claim_set=st.integers(1, 2**15 - 1),
)


@st.composite
def held_nodes(draw: st.DrawFn) -> tuple[HeldNode, ...]:
    numbers = sorted(draw(st.sets(st.integers(0, 15), min_size=1, max_size=4)))
    slots = draw(st.sets(st.integers(0, 255), max_size=8))
    nodes = []
    for index, number in enumerate(numbers):
        cpus = tuple(
            draw(st.lists(st.integers(0, 512), min_size=1, max_size=8, unique=True))
        )
        mine = sorted(slot for slot in slots if slot % len(numbers) == index)
        nodes.append(
            HeldNode(
                node=number,
                cpus=cpus,
                vcpus=draw(st.integers(1, len(cpus))),
                memory_mib=draw(st.integers(1, 2**31 - 1)),
                hugepage_kib=draw(st.sampled_from([0, 2048, 1048576])),
                slots=tuple(f"0000:{slot:02x}:00" for slot in mine),
            )
        )
    return tuple(nodes)


def text_of(record: DomainRecord) -> str:
    element = element_of(record.instance, record.nodes)
    return str(etree.tostring(element, encoding="unicode"))


KNOWN = DomainRecord(
    2,
    InstanceRecord(
        7,
        3,
        "g1-gpu",
        "us-east",
        "gpucloud/probe",
        uuid.UUID(int=1),
        uuid.UUID(int=2),
        "render",
    ),
    (
        HeldNode(0, (4, 12, 5, 13), 3, 512, 0, ("0000:21:00", "0000:22:00")),
        HeldNode(1, (8,), 1, 256, 0, ()),
    ),
)


@given(instances, held_nodes())
def test_what_was_told_comes_back(
    instance: InstanceRecord, nodes: tuple[HeldNode, ...]
) -> None:
    told = DomainRecord(2, instance, nodes)

    assert read_record(text_of(told)) == told


def test_first_version_is_still_read() -> None:
    text = (
        f'<instance xmlns="{METADATA_NAMESPACE}" version="1" id="7" account="3" '
        'plan="g1-gpu" region="us-east" image="gpucloud/probe"/>'
    )

    told = replace(KNOWN.instance, uuid=None, account_uuid=None, label=None)
    assert read_record(text) == DomainRecord(1, told)


def test_no_metadata_is_a_strangers() -> None:
    assert read_record("") is None


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ('version="2"', 'version="3"', "version 3 is not known here"),
        ('version="2"', "", "version is missing"),
        ('id="7"', 'id="0"', "id is '0', not a number"),
        ('id="7"', f'id="{"9" * 5000}"', "id is '999"),
        ('label="render"', 'label=""', "label is ''"),
        ('plan="g1-gpu"', 'plan="&lt;script&gt;"', "plan is '<script>'"),
        (f'uuid="{uuid.UUID(int=1)}"', 'uuid="x"', "uuid is 'x', no UUID"),
        ('cpus="4,12,5,13"', 'cpus="4,4,5,13"', "a CPU is told twice"),
        ('cpus="4,12,5,13"', 'cpus="0-99999999"', "cpus is '0-99999999'"),
        ('vcpus="3"', 'vcpus="5"', "vcpus is '5', not a number from 1 to 4"),
        ('slot="0000:22:00"', 'slot="0000:21:00"', "a card is told twice"),
        ('slot="0000:22:00"', 'slot="../../etc"', "slot is '../../etc'"),
        ('number="1"', 'number="0"', "a node is told twice"),
        ("<gpucloud:node", "<gpucloud:node <", "it is no XML"),
    ],
)
def test_what_is_wrong_is_named(before: str, after: str, why: str) -> None:
    text = text_of(KNOWN)
    assert before in text

    found = read_record(text.replace(before, after, 1))

    assert isinstance(found, Unreadable)
    assert why in found.why


@given(
    st.integers(0, len(text_of(KNOWN))),
    st.integers(0, 40),
    st.text(max_size=40) | st.sampled_from(["&a;", "<!DOCTYPE a [<!ENTITY a 'b'>]>"]),
)
def test_no_damage_raises(at: int, length: int, put: str) -> None:
    text = text_of(KNOWN)

    found = read_record(text[:at] + put + text[at + length :])

    assert found is None or isinstance(found, DomainRecord | Unreadable)
