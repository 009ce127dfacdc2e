"""One contract for all: simulated, shared by processes, libvirt's test, virtual GPU host."""

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from instances.domain_devices import Nic
from instances.domain_xml import DomainSpec, GuestCell, build_domain, differences
from instances.network_filter import filter_name, filters_of
from inventory.addresses import mac_of
from inventory.exceptions import (
    DomainNotFound,
    HostUnreachable,
    HypervisorError,
    InvalidXml,
)
from inventory.hypervisor import supervised
from inventory.hypervisor.port import DomainState, Hypervisor
from inventory.hypervisor.supervised import SupervisedHypervisor
from inventory.hypervisor.xml import parse_domain, parse_host, pci_backends
from inventory.topology import PciAddress
from tests.gpuhost import faults
from tests.gpuhost.host import VirtualGpuHost

POOL, FOLDER = "gpucloud-console", "/var/log/libvirt/gpucloud"
CARD = PciAddress.parse("0000:21:00.0")


def spec(*cards: PciAddress, domain_type: str = "qemu", **fields: Any) -> DomainSpec:
    cell = GuestCell(0, (0,), (0,), 128, tuple((card,) for card in cards))
    values = {
        "uuid": str(uuid.uuid4()),
        "name": f"contract-{uuid.uuid4().hex[:8]}",
        "title": "a contract test",
        "domain_type": domain_type,
        "cells": (cell,),
        "kernel_path": "/var/lib/libvirt/images/probe.elf",
        **fields,
    }
    return DomainSpec(**values)


@pytest.fixture(params=["simulated", "shared", "libvirt-test", "virtual-host"])
def driver(request: pytest.FixtureRequest) -> Iterator[tuple[str, Hypervisor]]:
    if request.param in ("simulated", "shared"):
        yield request.param, request.getfixturevalue(f"{request.param}_host")
        return
    if request.param == "libvirt-test":
        hypervisor = SupervisedHypervisor("test:///default")
    else:
        host: VirtualGpuHost = request.getfixturevalue("virtual_host")
        hypervisor = SupervisedHypervisor(host.running().libvirt_uri)
    yield request.param, hypervisor
    hypervisor.close()


@pytest.fixture
def minimal(driver: tuple[str, Hypervisor]) -> Iterator[Callable[[], DomainSpec]]:
    """Give a maker of specs for a domain without cards; ends what it made."""
    kind, hypervisor = driver
    made: list[DomainSpec] = []

    def make() -> DomainSpec:
        made.append(spec(domain_type="test" if kind == "libvirt-test" else "qemu"))
        return made[-1]

    yield make
    for each in made:
        with contextlib.suppress(HypervisorError):
            hypervisor.destroy_domain(each.uuid)
        with contextlib.suppress(HypervisorError):
            hypervisor.undefine_domain(each.uuid)


def test_domain_goes_through_its_life(
    driver: tuple[str, Hypervisor], minimal: Callable[[], DomainSpec]
) -> None:
    kind, hypervisor = driver
    domain = minimal()
    with pytest.raises(DomainNotFound):
        hypervisor.domain_state(domain.uuid)

    hypervisor.define_domain(build_domain(domain))
    assert hypervisor.domain_state(domain.uuid) is DomainState.OFF
    hypervisor.start_domain(domain.uuid)
    assert hypervisor.domain_state(domain.uuid) is DomainState.RUNNING
    assert hypervisor.domains()[domain.uuid] is DomainState.RUNNING
    document = hypervisor.domain_documents()[domain.uuid]
    for shown in (document, hypervisor.domain_xml(domain.uuid)):
        assert differences(domain, parse_domain(shown)) == []
    with pytest.raises(HypervisorError) as again:
        hypervisor.start_domain(domain.uuid)
    # VIR_ERR_OPERATION_INVALID; libvirt's test driver says 1.
    assert again.value.code == (1 if kind == "libvirt-test" else 55)
    hypervisor.destroy_domain(domain.uuid)
    assert hypervisor.domain_state(domain.uuid) is DomainState.OFF
    hypervisor.destroy_domain(domain.uuid)
    hypervisor.undefine_domain(domain.uuid)

    with pytest.raises(DomainNotFound):
        hypervisor.domain_xml(domain.uuid)
    for call in (
        hypervisor.start_domain,
        hypervisor.destroy_domain,
        hypervisor.undefine_domain,
        hypervisor.shutdown_domain,
    ):
        with pytest.raises((DomainNotFound, KeyError)):
            call(domain.uuid)


def test_defining_again_changes_nothing_that_runs(
    driver: tuple[str, Hypervisor], minimal: Callable[[], DomainSpec]
) -> None:
    _, hypervisor = driver
    domain = minimal()
    hypervisor.define_domain(build_domain(domain))
    hypervisor.define_domain(build_domain(domain))

    assert list(hypervisor.domains()).count(domain.uuid) == 1


def test_document_that_breaks_the_schema_is_refused(
    driver: tuple[str, Hypervisor], minimal: Callable[[], DomainSpec]
) -> None:
    _, hypervisor = driver
    domain = minimal()
    broken = (
        build_domain(domain)
        .replace("<memory", "<memori")
        .replace("</memory", "</memori")
    )

    with pytest.raises(InvalidXml):
        hypervisor.define_domain(broken)

    assert domain.uuid not in hypervisor.domains()


def test_capabilities_can_be_read(driver: tuple[str, Hypervisor]) -> None:
    kind, hypervisor = driver
    if kind == "libvirt-test":
        pytest.skip("libvirt's test driver is an i686 host")

    assert (
        len(parse_host(hypervisor.capabilities(), hypervisor.pci_devices()).nodes) == 2
    )


def test_cpu_time_since_boot_never_falls(driver: tuple[str, Hypervisor]) -> None:
    kind, hypervisor = driver
    first, second = hypervisor.cpu_seconds(), hypervisor.cpu_seconds()

    if first is None or second is None:
        assert kind == "libvirt-test"
    else:
        assert 0 < first <= second


def test_versions_are_numbers_of_one_form(driver: tuple[str, Hypervisor]) -> None:
    kind, hypervisor = driver

    libvirt, qemu = hypervisor.versions()

    assert 7_000_000 <= libvirt < 100_000_000
    assert qemu >= (2 if kind == "libvirt-test" else 5_000_000)


def test_guest_may_have_pci_devices_by_vfio(driver: tuple[str, Hypervisor]) -> None:
    kind, hypervisor = driver
    if kind == "libvirt-test":
        pytest.skip("libvirt's test driver has no x86_64 q35 guest")

    document = hypervisor.domain_capabilities("qemu")

    assert pci_backends(document) == ("default", "vfio")


def test_free_pages_are_counted_by_node_and_size(
    driver: tuple[str, Hypervisor],
) -> None:
    kind, hypervisor = driver

    assert hypervisor.free_pages(1, 2048) == 0
    assert kind != "virtual-host" or hypervisor.free_pages(1, 4) > 0


@pytest.mark.gpuhost
def test_reserved_pages_are_free_on_their_node_only(
    virtual_host: VirtualGpuHost,
) -> None:
    hypervisor = SupervisedHypervisor(virtual_host.running().libvirt_uri)
    assert faults.reserve_hugepages(virtual_host, 1, 4) == 4
    try:
        assert [hypervisor.free_pages(node, 2048) for node in (0, 1)] == [0, 4]
    finally:
        faults.reserve_hugepages(virtual_host, 1, 0)
        hypervisor.close()


def test_networks_say_whether_they_are_active(driver: tuple[str, Hypervisor]) -> None:
    kind, hypervisor = driver

    states = hypervisor.networks()

    assert set(map(type, states.values())) <= {bool}
    assert kind != "libvirt-test" or states == {"default": True}


def test_clock_is_read_from_a_pool_and_leaves_no_volume(
    driver: tuple[str, Hypervisor],
) -> None:
    kind, hypervisor = driver
    assert hypervisor.clock("no-such-pool") is None
    if kind == "libvirt-test":
        return

    hypervisor.ensure_folder_pool(POOL, FOLDER)
    before = hypervisor.clock(POOL)
    after = hypervisor.clock(POOL)

    assert before is not None
    assert after is not None
    assert before <= after
    assert abs(after - time.time()) < 60
    assert (hypervisor.pools()[POOL] or 0) > 0


def test_volume_that_is_not_there_is_empty(driver: tuple[str, Hypervisor]) -> None:
    kind, hypervisor = driver
    if kind != "libvirt-test":
        hypervisor.ensure_folder_pool(POOL, FOLDER)
        hypervisor.ensure_folder_pool(POOL, FOLDER)

    assert hypervisor.read_volume_tail(POOL, "nothing.log", 100) == b""
    hypervisor.delete_volume(POOL, "nothing.log")


@pytest.mark.gpuhost
def test_workers_that_want_one_new_pool_at_once_all_get_it(
    virtual_host: VirtualGpuHost,
) -> None:
    uri = virtual_host.running().libvirt_uri
    name = f"pool-{uuid.uuid4().hex[:8]}"

    def want(_: int) -> bytes:
        with contextlib.closing(SupervisedHypervisor(uri)) as hypervisor:
            hypervisor.delete_volume(name, "nothing.log")
            hypervisor.ensure_folder_pool(name, f"/var/lib/libvirt/{name}")
            return hypervisor.read_volume_tail(name, "nothing.log", 100)

    with ThreadPoolExecutor(6) as workers:
        assert list(workers.map(want, range(6))) == [b""] * 6


@pytest.mark.parametrize(
    "driver",
    ["simulated", "shared", pytest.param("virtual-host", marks=pytest.mark.gpuhost)],
    indirect=True,
)
def test_used_card_is_refused_to_a_second_domain(
    driver: tuple[str, Hypervisor],
) -> None:
    _, hypervisor = driver
    hypervisor.ensure_folder_pool(POOL, FOLDER)
    first, second = spec(CARD), spec(CARD)
    try:
        for domain in (first, second):
            hypervisor.define_domain(build_domain(domain))
        hypervisor.start_domain(first.uuid)

        with pytest.raises(HypervisorError, match=r"0000:21:00\.0 is in use") as caught:
            hypervisor.start_domain(second.uuid)

        assert caught.value.code == 55
        assert hypervisor.domain_state(second.uuid) is DomainState.OFF
    finally:
        for domain in (first, second):
            hypervisor.destroy_domain(domain.uuid)
            hypervisor.undefine_domain(domain.uuid)


@pytest.mark.parametrize(
    "driver",
    ["simulated", "shared", pytest.param("virtual-host", marks=pytest.mark.gpuhost)],
    indirect=True,
)
def test_filter_goes_once_no_guest_has_it(driver: tuple[str, Hypervisor]) -> None:
    _, hypervisor = driver
    hypervisor.ensure_folder_pool(POOL, FOLDER)
    mac = mac_of("10.77.0.210")
    domain = spec(nic=Nic("network", "gpucloud", mac, "10.77.0.210"))
    assert domain.nic is not None
    name = filter_name(domain.uuid)
    hypervisor.undefine_filter(name)
    hypervisor.define_domain(build_domain(domain))
    try:
        with pytest.raises(HypervisorError):
            hypervisor.start_domain(domain.uuid)
        for document in filters_of(domain.uuid, domain.nic, None) * 2:
            hypervisor.define_filter(document)
        assert hypervisor.filter_names().count(name) == 1
        hypervisor.start_domain(domain.uuid)

        with pytest.raises(HypervisorError, match="in use"):
            hypervisor.undefine_filter(name)

        assert name in hypervisor.filter_names()
    finally:
        hypervisor.destroy_domain(domain.uuid)
        hypervisor.undefine_domain(domain.uuid)
    hypervisor.undefine_filter(name)
    assert name not in hypervisor.filter_names()


@pytest.mark.gpuhost
def test_host_that_is_back_answers_at_the_first_call(
    virtual_host: VirtualGpuHost,
) -> None:
    uri = virtual_host.running().libvirt_uri
    with contextlib.closing(SupervisedHypervisor(uri)) as hypervisor:
        before = hypervisor.domains()
        faults.kill_libvirtd(virtual_host)
        virtual_host.wait_until_ready()

        # Each worker has a connection of its own: were the first call of each to fail, the
        # host would count as silent again and again.
        assert hypervisor.domains() == before


@pytest.mark.gpuhost
def test_frozen_host_costs_a_call_its_deadline_and_no_more(
    virtual_host: VirtualGpuHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    hypervisor = SupervisedHypervisor(virtual_host.running().libvirt_uri)
    hypervisor.domains()
    monkeypatch.setattr(supervised, "OPEN_TIMEOUT_S", 1.0)
    pid = virtual_host.running().pid
    os.kill(pid, signal.SIGSTOP)
    try:
        hypervisor.close()
        with pytest.raises(HostUnreachable):
            hypervisor.domains()
        assert hypervisor._child is None
    finally:
        os.kill(pid, signal.SIGCONT)

    monkeypatch.undo()
    assert hypervisor.domains() == {}
    hypervisor.close()


def test_child_that_dies_is_replaced() -> None:
    hypervisor = SupervisedHypervisor("test:///default")
    hypervisor.domains()
    child = hypervisor._child
    assert child is not None
    child.close()

    assert len(hypervisor.domains()) == 1
    hypervisor.close()


def test_answer_of_an_interrupted_call_is_not_taken_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hypervisor = SupervisedHypervisor("test:///default")
    hypervisor.domains()

    def interrupt(*_: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(supervised.os, "read", interrupt)
        with pytest.raises(KeyboardInterrupt):
            hypervisor.domains()

    assert hypervisor.networks() == {"default": True}
    hypervisor.close()


def test_address_that_nobody_answers_is_unreachable() -> None:
    started = time.monotonic()
    hypervisor = SupervisedHypervisor("qemu+tcp://127.0.0.1:1/system")

    with pytest.raises(HostUnreachable):
        hypervisor.domains()

    assert hypervisor._child is None
    assert time.monotonic() - started < supervised.OPEN_TIMEOUT_S
