"""The document of a guest that checks cards."""

from typing import Any

import pytest
from lxml import etree

from inventory.hypervisor.check_domain import CHECK_NAMESPACE, build_check_domain
from inventory.hypervisor.xml import parse_domain
from inventory.topology import PciAddress

UUID = "6d0a2b9e-5f0c-4a53-9b83-2d1c4a37f3a1"
GPU, AUDIO, OTHER = map(
    PciAddress.parse, ("0001:d6:00.0", "0001:d6:00.1", "0000:21:00.0")
)


def document(**fields: Any) -> etree._Element:
    values = {
        "uuid": UUID,
        "name": "check-6d0a2b9e",
        "title": "a check",
        "domain_type": "qemu",
        "kernel_path": "/boot/check",
        "initrd_path": "",
        "cmdline": "",
        "memory_mib": 256,
        "functions": (),
        "node": None,
        "cpus": (),
        "console_file": "/var/log/libvirt/gpucloud/check.log",
        **fields,
    }
    return etree.fromstring(build_check_domain(**values))


def test_each_card_has_a_port_and_keeps_its_functions_together() -> None:
    root = document(functions=(AUDIO, OTHER, GPU))

    ports = root.findall("devices/controller[@model='pcie-root-port']")
    placed = [
        (
            device.find("source/address").attrib["domain"],
            *map(device.find("address").get, ("bus", "function", "multifunction")),
        )
        for device in root.findall("devices/hostdev[@managed='yes']")
    ]
    assert [port.get("index") for port in ports] == ["1", "2"]
    assert placed == [
        ("0x0000", "0x1", "0x0", None),
        ("0x0001", "0x2", "0x0", "on"),
        ("0x0001", "0x2", "0x1", None),
    ]
    assert parse_domain(etree.tostring(root).decode()).hostdevs == (OTHER, GPU, AUDIO)


def test_guest_is_bound_to_its_node_and_cpus() -> None:
    live = parse_domain(etree.tostring(document(node=1, cpus=(3, 2))).decode())
    root = document(node=1, cpus=(3, 2))

    assert live.memory_nodes == (1,)
    assert (live.vcpus, live.vcpu_pins) == (2, {0: (3,), 1: (2,)})
    assert root.find("cputune/emulatorpin").get("cpuset") == "2,3"


def test_guest_without_node_and_cpus_runs_anywhere() -> None:
    root = document()

    assert root.findtext("vcpu") == "1"
    assert root.find("numatune") is None
    assert root.find("cputune") is None
    assert root.find("os/initrd") is None
    assert root.find("os/cmdline") is None


def test_guest_ends_rather_than_begins_again() -> None:
    root = document()

    ends = [root.findtext(name) for name in ("on_poweroff", "on_reboot", "on_crash")]
    assert ends == ["destroy", "destroy", "destroy"]
    assert root.find("devices/memballoon").get("model") == "none"
    assert root.find("devices/controller[@type='usb']").get("model") == "none"


@pytest.mark.parametrize(("kind", "cpus"), [("kvm", 1), ("qemu", 0)])
def test_only_kvm_passes_the_host_cpu_through(kind: str, cpus: int) -> None:
    root = document(domain_type=kind)

    assert root.get("type") == kind
    assert len(root.findall("cpu[@mode='host-passthrough']")) == cpus


def test_kernel_log_and_metadata_are_where_they_are_looked_for() -> None:
    root = document(
        initrd_path="/boot/initrd", cmdline="a=b", metadata={"kind": "preflight"}
    )

    assert root.findtext("os/kernel") == "/boot/check"
    assert root.findtext("os/initrd") == "/boot/initrd"
    assert root.findtext("os/cmdline") == "a=b"
    log = root.find("devices/serial/log")
    assert (log.get("file"), log.get("append")) == (
        "/var/log/libvirt/gpucloud/check.log",
        "on",
    )
    check = root.find(f"metadata/{{{CHECK_NAMESPACE}}}check")
    assert dict(check.attrib) == {"kind": "preflight"}


def test_text_cannot_add_elements_or_control_characters() -> None:
    assert document(title="<on_crash>restart</on_crash>").findtext("title") == (
        "<on_crash>restart</on_crash>"
    )
    with pytest.raises(ValueError, match="XML compatible"):
        document(title="a\x00b")
