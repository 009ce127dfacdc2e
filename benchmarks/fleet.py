"""Many hosts like one: real hardware's size, half of the cards with guests.

The first host is enrolled and its guests are launched by the product; the others are
copies of its rows and documents, which takes seconds where launching would take an hour.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from django.db import connection, transaction
from django.db.models import Model
from lxml import etree
from lxml.builder import E

from instances.actions.launch import launch
from instances.jobs import card_work, runner
from instances.models import Instance, Job, UsageInterval
from instances.reconcile import reconcile
from inventory.enrolment import EnrolmentOrder, enrol
from inventory.models import (
    Card,
    CardCheck,
    CardClaim,
    CardEvent,
    CardFunction,
    Host,
    HostCpu,
    NodeClaim,
    NumaNode,
)
from tests.builders import make_gpu_model, make_order, make_plan, make_region
from tests.simulated import SimulatedHypervisor

_DATA = Path(__file__).parent.parent / "tests" / "data"
_UUID = "3e8ee270-efbc-5380-9b18-574472d967a6"
_SERIAL = "benchmark-1"
CORES, THREADS, MEMORY_MIB = 32, 2, 512 * 1024
CPUS = 2 * CORES * THREADS
# (bus, IOMMU group) of the recorded cards -> those of the four that are added.
_MORE = {33: (35, 113), 34: (36, 114), 97: (99, 109), 98: (100, 110)}
GUESTS = (1, 2, 1)


def capabilities() -> str:
    """Return the recorded document with two nodes of a usual size."""
    root = etree.parse(_DATA / "capabilities-2x2.xml").getroot()
    cells = root.find("host/topology/cells")
    assert cells is not None
    for old in list(cells):
        cells.remove(old)
    for node in range(2):
        cpus = []
        for core in range(CORES):
            pair = [node * CORES + core + half * 2 * CORES for half in range(THREADS)]
            siblings = ",".join(map(str, pair))
            cpus += [
                E.cpu(
                    id=str(cpu),
                    socket_id=str(node),
                    core_id=str(core),
                    siblings=siblings,
                )
                for cpu in pair
            ]
        cells.append(
            E.cell(
                E.memory(str(MEMORY_MIB * 1024), unit="KiB"),
                E.cpus(*cpus, num=str(len(cpus))),
                id=str(node),
            )
        )
    return etree.tostring(root, encoding="unicode")


def devices() -> tuple[str, ...]:
    """Return the recorded PCI functions, and each of the four cards once more.

    Cards have serial numbers, as those for sale do: a moved card is looked for by it.
    """
    documents = []
    for device in etree.parse(_DATA / "pci-2x2-rtx6000.xml").getroot():
        capability, bus = device.find("capability"), device.find("capability/bus")
        group = device.find("capability/iommuGroup")
        assert capability is not None
        if bus is None or group is None or int(bus.text or 0) not in _MORE:
            documents.append(etree.tostring(device, encoding="unicode"))
            continue
        serial = E.serial_number("")
        capability.append(E.capability(E.fields(serial, access="readonly"), type="vpd"))
        for number, iommu_group in (
            (int(bus.text or 0), int(group.get("number", "0"))),
            _MORE[int(bus.text or 0)],
        ):
            bus.text, serial.text = str(number), f"{_SERIAL}-{number}"
            group.set("number", str(iommu_group))
            documents.append(etree.tostring(device, encoding="unicode"))
    return tuple(documents)


@dataclass(slots=True)
class Fleet:
    """hypervisors: by the id of the host's row, in order."""

    first: SimulatedHypervisor
    hypervisors: dict[int, SimulatedHypervisor]

    def grow(self, count: int) -> None:
        """Copy the first host until there are `count`."""
        template = Host.objects.earliest("pk")
        numbers = range(len(self.hypervisors) + 1, count + 1)
        with _unguarded():
            for number in numbers:
                host_id, renamed = _copy(template, number)
                self.hypervisors[host_id] = _twin(self.first, renamed)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")

    def compare(self, host_ids: Iterable[int]) -> None:
        """Compare each host as a worker does; every one must agree with its rows."""
        for host_id in host_ids:
            keep_up(self.hypervisors[host_id])
            found = reconcile(host_id, self.hypervisors[host_id])
            assert found == [], found
            assert card_work.plan(host_id) == []


def first_host(guests: Sequence[int] = GUESTS) -> Fleet:
    """Enrol a host and launch `guests`, each with so many cards, as the product does."""
    make_region()
    make_gpu_model()
    hypervisor = SimulatedHypervisor(capabilities(), devices())
    order = EnrolmentOrder("qemu+tls://gpu1.example.net/system", "us-east", "gpu1")
    host = enrol(order, "user:benchmark", hypervisor).host
    while jobs := card_work.plan(host.pk):
        _work(jobs, hypervisor)
    for cards in guests:
        plan = make_plan(cards=cards, vcpus=8 * cards, memory_mib=65536 * cards)
        instance = launch(make_order(plan=plan.slug))
        _work([Job.objects.get(instance=instance).pk], hypervisor)
    keep_up(hypervisor)
    assert reconcile(host.pk, hypervisor) == []
    return Fleet(hypervisor, {host.pk: hypervisor})


def keep_up(hypervisor: SimulatedHypervisor) -> None:
    """Let the host's CPU time grow with the clock, or it counts as booted."""
    hypervisor.cpu_time_s = CPUS * time.monotonic()


def _work(job_ids: Sequence[int], hypervisor: SimulatedHypervisor) -> None:
    for job_id in job_ids:
        _work(runner.run(job_id, lambda _: hypervisor), hypervisor)


def _twin(first: SimulatedHypervisor, renamed: dict[str, str]) -> SimulatedHypervisor:
    """Return a host like the first. renamed: what tells hosts apart -> the twin's."""
    twin = SimulatedHypervisor(
        first.capabilities().replace(_UUID, renamed[_UUID]),
        tuple(each.replace(_SERIAL, renamed[_SERIAL]) for each in first.devices),
    )
    for old, document in first.documents.items():
        twin.documents[renamed[old]] = document.replace(old, renamed[old])
        twin.states[renamed[old]] = first.states[old]
    return twin


@contextmanager
def _unguarded() -> Iterator[None]:
    """Let rows be copied in one go: the guards ask for the steps that led to them."""
    tables = [model._meta.db_table for model in (Card, CardClaim, NodeClaim)]
    with transaction.atomic(), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def _copy(host: Host, number: int) -> tuple[int, dict[str, str]]:
    """Copy a host with all that hangs on it; return its id and what tells it apart."""

    def other(uuid: UUID) -> UUID:
        return uuid5(NAMESPACE_OID, f"{uuid} {number}")

    copy = Host.objects.get(pk=host.pk)
    copy.pk, copy.name, copy.host_uuid = None, f"gpu{number}", other(host.host_uuid)
    copy.libvirt_uri = f"qemu+tls://gpu{number}.example.net/system"
    copy.save(force_insert=True)
    serial = f"benchmark-{number}"
    renamed = {str(host.host_uuid): str(copy.host_uuid), _SERIAL: serial}
    nodes = _clone(NumaNode.objects.filter(host=host), host=lambda _: copy.pk)
    _clone(HostCpu.objects.filter(numa_node__host=host), numa_node=nodes.get)
    cards = _clone(
        Card.objects.filter(host=host),
        host=lambda _: copy.pk,
        numa_node=nodes.get,
        identity=lambda identity: identity.replace(_SERIAL, serial),
    )
    _clone(CardFunction.objects.filter(card__host=host), card=cards.get)
    checks = _clone(CardCheck.objects.filter(card__host=host), card=cards.get)
    claims = _clone(
        CardClaim.objects.filter(card__host=host), card=cards.get, consumer=other
    )
    _clone(
        NodeClaim.objects.filter(numa_node__host=host),
        numa_node=nodes.get,
        consumer=other,
    )
    _clone(
        CardEvent.objects.filter(card__host=host),
        card=cards.get,
        claim=claims.get,
        check_done=checks.get,
        host=lambda host_id: copy.pk if host_id else None,
        consumer=lambda uuid: other(uuid) if uuid else None,
    )
    first = Instance.objects.filter(label__startswith="linode")
    instances = _clone(first, uuid=other, label=lambda label: f"copy{number}-{label}")
    _clone(UsageInterval.objects.filter(instance__in=first), instance=instances.get)
    _clone(Job.objects.filter(instance__in=first), instance=instances.get)
    renamed |= {str(i.uuid): str(other(i.uuid)) for i in first}
    return copy.pk, renamed


def _clone(rows: Any, **changes: Any) -> dict[int, int]:
    """Insert copies of `rows`, field by field changed; return old id -> new id."""
    model: type[Model] = rows.model
    old = list(rows.order_by("pk"))
    new = []
    for row in old:
        values = {
            field.attname: changes[field.name](getattr(row, field.attname))
            if field.name in changes
            else getattr(row, field.attname)
            for field in model._meta.concrete_fields
            if not field.primary_key
        }
        new.append(model(**values))
    made = model._default_manager.bulk_create(new)
    return {before.pk: after.pk for before, after in zip(old, made, strict=True)}
