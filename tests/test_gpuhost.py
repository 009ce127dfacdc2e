"""The virtual GPU host itself: what every other test on it takes for granted."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree

import libvirt
import pytest

from tests.gpuhost import faults
from tests.gpuhost.errors import NoSuchTarget
from tests.gpuhost.host import HostFactory, VirtualGpuHost
from tests.gpuhost.probe_domain import ProbeDomain, node_device

pytestmark = pytest.mark.gpuhost

CARDS = ["0000:21:00.0", "0000:22:00.0", "0000:61:00.0", "0000:62:00.0"]


@pytest.fixture(autouse=True)
def quiet_libvirt() -> None:
    libvirt.registerErrorHandler(lambda _context, _error: None, None)


def connect(host: VirtualGpuHost) -> libvirt.virConnect:
    return libvirt.open(host.running().libvirt_uri)


@pytest.fixture
def connection(clean_virtual_host: VirtualGpuHost) -> Iterator[libvirt.virConnect]:
    link = connect(clean_virtual_host)
    yield link
    link.close()


T = TypeVar("T")


def wait_for(look: Callable[[], T], timeout_s: float = 30) -> T:
    until = time.monotonic() + timeout_s
    while not (seen := look()):
        assert time.monotonic() < until, f"still {seen!r} after {timeout_s} s"
        time.sleep(0.1)
    return seen


def console(host: VirtualGpuHost, guest: ProbeDomain) -> list[str]:
    """Return the lines of a guest's serial log once it has told everything."""

    def text() -> str:
        log = host.shell(f"cat {guest.serial_log} 2>/dev/null || true")
        return log if "PROBE-DONE" in log else ""

    return wait_for(text, 60).splitlines()


def card_facts(link: libvirt.virConnect, address: str) -> dict[str, str | None]:
    device = link.nodeDeviceLookupByName(node_device(address))
    xml = ElementTree.fromstring(device.XMLDesc())  # noqa: S314 - from our own libvirtd

    def attribute(path: str, name: str) -> str | None:
        found = xml.find(f"capability/{path}")
        return None if found is None else found.get(name)

    return {
        "class": xml.findtext("capability/class"),
        "vendor": attribute("vendor", "id"),
        "product": attribute("product", "id"),
        "node": attribute("numa", "node"),
        "group": attribute("iommuGroup", "number"),
        "group_size": str(len(xml.findall("capability/iommuGroup/address"))),
    }


def host_uuid(link: libvirt.virConnect) -> str | None:
    xml = ElementTree.fromstring(link.getCapabilities())  # noqa: S314 - as above
    return xml.findtext("host/uuid")


def test_four_cards_have_their_own_groups_and_nodes(
    connection: libvirt.virConnect,
) -> None:
    facts = [card_facts(connection, address) for address in CARDS]

    assert [fact["class"] for fact in facts] == ["0x030000"] * 4
    assert [fact["vendor"] for fact in facts] == ["0x10de"] * 4
    assert [fact["product"] for fact in facts] == ["0x1e30"] * 4
    assert [fact["node"] for fact in facts] == ["0", "0", "1", "1"]
    assert [fact["group_size"] for fact in facts] == ["1"] * 4
    assert len({fact["group"] for fact in facts}) == 4


def test_a_guest_sees_the_card_it_was_given(
    clean_virtual_host: VirtualGpuHost, connection: libvirt.virConnect
) -> None:
    guest = ProbeDomain("one", CARDS[:1], node=0, cpus=[0, 1], cmdline="hello=1")

    domain = connection.defineXML(guest.xml())
    domain.create()
    lines = console(clean_virtual_host, guest)

    assert lines[0].endswith("probe.elf hello=1")
    assert "PROBE-CPUS 2" in lines
    seen = [line for line in lines if line.startswith("GPU-SEEN")]
    assert len(seen) == 1
    assert seen[0].startswith("GPU-SEEN 10de:1e30 class 030000 subsys 10de:12ba")
    assert [line for line in lines if line.startswith("GPU-MEM ok")]
    assert lines[-1] == "PROBE-DONE cards=1"

    domain.shutdown()
    wait_for(lambda: not domain.isActive())


def test_a_card_in_use_is_refused_to_a_second_guest(
    clean_virtual_host: VirtualGpuHost, connection: libvirt.virConnect
) -> None:
    connection.defineXML(ProbeDomain("first", CARDS[2:3]).xml()).create()
    second = connection.defineXML(ProbeDomain("second", CARDS[2:3]).xml())

    with pytest.raises(libvirt.libvirtError) as refusal:
        second.create()

    assert refusal.value.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID
    assert CARDS[2] in str(refusal.value)
    assert second.isActive() == 0
    assert connection.lookupByName("first").isActive() == 1


def test_restore_gives_a_clean_host_at_the_same_address(
    clean_virtual_host: VirtualGpuHost,
) -> None:
    before = clean_virtual_host.running()
    link = connect(clean_virtual_host)
    link.defineXML(ProbeDomain("left-over").xml())
    clean_virtual_host.shell("echo left > /root/over")

    after = clean_virtual_host.restore()

    assert after.libvirt_uri == before.libvirt_uri
    assert after.pid != before.pid
    assert connect(clean_virtual_host).listAllDomains() == []
    assert clean_virtual_host.shell("ls /root") == ""
    assert abs(int(clean_virtual_host.shell("date +%s")) - time.time()) < 3


def test_an_unusable_state_costs_one_boot(virtual_host_factory: HostFactory) -> None:
    host = virtual_host_factory("test-gpuhost2", board="1x4", card="l40s")
    state = host.saved_state()
    state.ram.write_bytes(b"not a state")
    state.seal()

    host.restore()

    assert connect(host).listAllDomains() == []
    assert state.ram.stat().st_size > 1 << 20


def test_two_hosts_at_once_are_told_apart(
    virtual_host: VirtualGpuHost, virtual_host_factory: HostFactory
) -> None:
    other = virtual_host_factory("test-gpuhost2", board="1x4", card="l40s")
    here, there = connect(virtual_host), connect(other)

    assert here.getHostname() == virtual_host.name
    assert there.getHostname() == other.name
    assert host_uuid(here) == virtual_host.running().uuid
    assert host_uuid(there) == other.running().uuid
    assert host_uuid(here) != host_uuid(there)
    assert card_facts(there, other.running().card_addresses[3])["product"] == "0x26b9"


def test_a_link_to_the_run_folder_finds_the_same_host(
    virtual_host: VirtualGpuHost, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(virtual_host.run_dir)

    again = VirtualGpuHost(virtual_host.name, run_dir=link).start()

    assert again == virtual_host.running()


def test_a_card_can_be_pulled_out_and_another_plugged_in(
    clean_virtual_host: VirtualGpuHost, connection: libvirt.virConnect
) -> None:
    def listed(address: str) -> bool:
        devices = connection.listAllDevices(
            libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV
        )
        return node_device(address) in [device.name() for device in devices]

    faults.unplug_card(clean_virtual_host, 1)
    wait_for(lambda: not listed(CARDS[1]))
    spare = faults.plug_card(clean_virtual_host, "h100")
    wait_for(lambda: listed(spare))

    assert card_facts(connection, spare)["product"] == "0x2331"
    assert card_facts(connection, spare)["node"] == "1"
    assert faults.plug_card(clean_virtual_host, slot=1) == CARDS[1]
    wait_for(lambda: listed(CARDS[1]))
    assert card_facts(connection, CARDS[1])["product"] == "0x1e30"
    with pytest.raises(NoSuchTarget):
        faults.plug_card(clean_virtual_host, slot=4)


def test_a_killed_libvirtd_comes_back_and_remembers(
    clean_virtual_host: VirtualGpuHost, connection: libvirt.virConnect
) -> None:
    connection.defineXML(ProbeDomain("survivor").xml()).create()

    faults.kill_libvirtd(clean_virtual_host)
    with pytest.raises(libvirt.libvirtError):
        connection.listAllDomains()
    clean_virtual_host.wait_until_ready(30)

    assert connect(clean_virtual_host).lookupByName("survivor").isActive() == 1
