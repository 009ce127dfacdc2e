"""The virtual GPU host itself: what every other test on it takes for granted."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree

import libvirt
import pytest

from tests.gpuhost import faults
from tests.gpuhost.errors import NoSuchTarget
from tests.gpuhost.host import HostFactory, VirtualGpuHost
from tests.gpuhost.image import ensure_image
from tests.gpuhost.machine import QEMU
from tests.gpuhost.probe_domain import ProbeDomain, node_device
from tests.gpuhost.qmp import Qmp

pytestmark = pytest.mark.gpuhost

CARDS = ["0000:21:00.0", "0000:22:00.0", "0000:61:00.0", "0000:62:00.0"]
MEMORY = 4 << 20  # bytes, of each card


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
        # The log may be read in the middle of its last line. shell() strips the end of
        # that line, were there nothing behind it.
        log = host.shell(f"cat {guest.serial_log} 2>/dev/null; echo =")
        return log[:-1] if re.search(r"(PROBE|CARD-CHECK)-DONE.*\n", log) else ""

    return wait_for(text, 60).splitlines()


def run_once(
    host: VirtualGpuHost, link: libvirt.virConnect, guest: ProbeDomain
) -> list[str]:
    """Run a guest to its last word, end it, and return what it said."""
    domain = link.createXML(guest.xml())
    lines = console(host, guest)
    domain.destroy()
    host.shell(f"rm {guest.serial_log}")
    return lines


def checker(mode: str, *cards: str) -> ProbeDomain:
    return ProbeDomain("check", cards, kernel="check.elf", cmdline=f"mode={mode}")


def residue(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("GPU-RESIDUE")]


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


def is_listed(link: libvirt.virConnect, name: str) -> bool:
    devices = link.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV)
    return name in [device.name() for device in devices]


@contextmanager
def check_guest(
    folder: Path,
    cmdline: str,
    *devices: str,
    words: Sequence[str] = ("-machine", "q35", "-m", "32"),
) -> Iterator[list[str]]:
    """Give what check.elf says in a machine of its own, which runs on meanwhile."""
    image = ensure_image()
    command = [QEMU, "-machine", "q35", "-accel", "tcg", "-m", "32", *words]
    command += [
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-serial",
        "stdio",
    ]
    command += ["-qmp", "unix:qmp.sock,server=on,wait=off"]
    command += [word for device in devices for word in ("-device", device)]
    command += ["-kernel", str(image.check_guest), "-append", cmdline]
    preload = os.environ | {"LD_PRELOAD": str(image.cards_library)}
    with subprocess.Popen(  # noqa: S603 - our own QEMU
        command, cwd=folder, env=preload, stdout=subprocess.PIPE, text=True
    ) as guest:
        assert guest.stdout
        lines: list[str] = []
        while not lines or not lines[-1].startswith("CARD-CHECK-DONE"):
            line = guest.stdout.readline()
            assert line, f"ended after {lines}"
            lines.append(line.strip())
        try:
            yield lines
        finally:
            guest.kill()


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
        return is_listed(connection, node_device(address))

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


def test_a_scrub_leaves_nothing_to_the_next_tenant(
    clean_virtual_host: VirtualGpuHost, connection: libvirt.virConnect
) -> None:
    def run(guest: ProbeDomain) -> list[str]:
        return run_once(clean_virtual_host, connection, guest)

    tenant = ProbeDomain("tenant", CARDS[:1])
    run(tenant)

    unscrubbed = run(tenant)
    scrub = run(checker("scrub", CARDS[0]))
    scrubbed = run(tenant)

    assert residue(unscrubbed) == [f"GPU-RESIDUE nonzero={MEMORY} of={MEMORY}"]
    assert scrub == [
        "CARD-CHECK version=1 mode=scrub",
        "CARD index=0 ids=10de:1e30 class=030000 functions=1 "
        f"bar_kib={MEMORY >> 10} link_width=1",
        f"SCRUBBED index=0 bytes={MEMORY} bad=0 left=0",
        "CARD-CHECK-DONE cards=1 result=pass",
    ]
    assert residue(scrubbed) == [f"GPU-RESIDUE nonzero=0 of={MEMORY}"]


def test_a_test_counts_functions_and_changes_nothing(
    clean_virtual_host: VirtualGpuHost, connection: libvirt.virConnect
) -> None:
    def run(guest: ProbeDomain) -> list[str]:
        return run_once(clean_virtual_host, connection, guest)

    # in a slot that was filled at boot: the empty port's window has no room for memory
    faults.unplug_card(clean_virtual_host, 3)
    wait_for(lambda: not is_listed(connection, node_device(CARDS[3])))
    video = faults.plug_card(clean_virtual_host, "rtx6000+audio", 3)
    audio = video.replace(".0", ".1")
    wait_for(lambda: is_listed(connection, node_device(video)))
    wait_for(lambda: is_listed(connection, node_device(audio)))
    tenant = ProbeDomain("tenant", [video, audio])
    run(tenant)

    tested = run(checker("test", CARDS[2], video, audio))
    afterwards = run(tenant)

    assert tested == [
        "CARD-CHECK version=1 mode=test",
        "CARD index=0 ids=10de:1e30 class=030000 functions=1 "
        f"bar_kib={MEMORY >> 10} link_width=1",
        f"MEMORY index=0 bytes={MEMORY} bad=0 nonzero=0",
        "CARD index=1 ids=10de:1e30 class=030000 functions=2 "
        f"bar_kib={MEMORY >> 10} link_width=1",
        f"MEMORY index=1 bytes={MEMORY} bad=0 nonzero={MEMORY}",
        "CARD-CHECK-DONE cards=2 result=pass",
    ]
    assert residue(afterwards) == [f"GPU-RESIDUE nonzero={MEMORY} of={MEMORY}"]


@pytest.mark.parametrize("cmdline", ["", "mode=scrubs", "no-mode=scrub"])
def test_a_check_guest_without_a_mode_fails(tmp_path: Path, cmdline: str) -> None:
    with check_guest(tmp_path, cmdline, "bochs-display") as lines:
        assert lines == [
            "CARD-CHECK version=1 mode=none",
            "CARD-CHECK-DONE cards=0 result=fail reason=mode",
        ]


def test_a_check_guest_without_a_card_fails(tmp_path: Path) -> None:
    with check_guest(tmp_path, "mode=test") as lines:
        assert lines[1:] == ["CARD-CHECK-DONE cards=0 result=fail reason=card"]


def test_a_card_without_memory_fails(tmp_path: Path) -> None:
    with check_guest(tmp_path, "mode=test", "gpu-bare") as lines:
        assert lines[2:] == [
            "MEMORY index=0 bytes=0 bad=0 nonzero=0",
            "CARD-CHECK-DONE cards=1 result=fail reason=memory",
        ]


def test_memory_above_4_gib_is_scrubbed(tmp_path: Path) -> None:
    # another device as big as the hole below 4 GiB; two windows of guest.h
    backend = "memory-backend-ram,share=on"
    memories = ["-object", f"{backend},id=hole,size=1G"]
    memories += ["-object", f"{backend},id=card,size=128M"]
    devices = ["ivshmem-plain,memdev=hole", "gpu-wide,memdev=card"]

    with check_guest(tmp_path, "mode=scrub", *devices, words=memories) as lines:
        with Qmp(tmp_path) as qmp:
            (bus,) = qmp("query-pci")
        regions = [r for d in bus["devices"] for r in d["regions"]]

    sizes = {r["size"]: r["address"] for r in regions}
    assert sizes[128 << 20] >= 1 << 32
    assert lines[1:] == [
        "CARD index=0 ids=10de:2331 class=030200 functions=1 "
        "bar_kib=131072 link_width=0",
        "SCRUBBED index=0 bytes=134217728 bad=0 left=0",
        "CARD-CHECK-DONE cards=1 result=pass",
    ]
