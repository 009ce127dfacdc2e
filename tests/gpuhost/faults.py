"""Break a running host on purpose: one function for each fault that can be had.

FAULTS maps the names of the command line to them.
"""

import inspect
import re
from collections.abc import Callable

from tests.gpuhost import process
from tests.gpuhost.errors import CommandFailed, NoSuchTarget, QmpRefused
from tests.gpuhost.host import VirtualGpuHost
from tests.gpuhost.machine import CARDS, SPARE_PORT, card_functions


def unplug_card(host: VirtualGpuHost, card: int | str) -> None:
    """Pull out a card: 0..N-1 for those built in, "spare" for the plugged one.

    A free card is gone from libvirt's list after 5 s; one in use is gone when its
    guest ends, and until then everything looks as before.
    """
    slot = SPARE_PORT if card == SPARE_PORT else f"gpu{card}"
    try:
        host.qmp("device_del", id=f"{slot}.0")
    except QmpRefused as error:
        raise NoSuchTarget(str(error)) from error


def plug_card(host: VirtualGpuHost, model: str = "") -> str:
    """Put a card (of the host's model unless told) into the empty port.

    Returns the PCI address it will have; libvirt lists it within a second.
    """
    card = CARDS[model] if model else host.card
    try:
        for value in card_functions(card, SPARE_PORT, SPARE_PORT):
            driver, *pairs = value.split(",")
            host.qmp(
                "device_add", driver=driver, **dict(p.split("=", 1) for p in pairs)
            )
    except QmpRefused as error:
        raise NoSuchTarget(str(error)) from error
    return host.board.spare_address


def kill_libvirtd(host: VirtualGpuHost) -> None:
    """Kill libvirtd with SIGKILL; guests run on and init starts it again at once."""
    host.shell("kill -9 $(pidof libvirtd)")


def stop_libvirtd(host: VirtualGpuHost) -> None:
    """Stop libvirtd (SIGSTOP): connections stay open and nothing is answered."""
    host.shell("kill -STOP $(pidof libvirtd)")


def continue_libvirtd(host: VirtualGpuHost) -> None:
    """Let a stopped libvirtd go on."""
    host.shell("kill -CONT $(pidof libvirtd)")


def pause_host(host: VirtualGpuHost) -> None:
    """Freeze the whole host, as a hang would; TCP connects still succeed."""
    host.qmp("stop")


def continue_host(host: VirtualGpuHost) -> None:
    """Let a frozen host go on."""
    host.qmp("cont")


def kill_host(host: VirtualGpuHost) -> None:
    """End the host at once, as a power cut would; `start` or `restore` brings it back.

    What the host's disk held is lost with it.
    """
    if not process.kill(host.run_dir, host.name):
        raise NoSuchTarget(f"host {host.name} does not run")


def kill_guest(host: VirtualGpuHost, domain: str) -> None:
    """Kill the QEMU of one guest inside the host."""
    _no_shell_signs(domain)
    try:
        host.shell(f"kill -9 $(cat /run/libvirt/qemu/{domain}.pid)")
    except CommandFailed as error:
        raise NoSuchTarget(f"no guest {domain} runs on {host.name}") from error


def stop_guest(host: VirtualGpuHost, domain: str) -> None:
    """Stop the QEMU of one guest (SIGSTOP), so that libvirtd waits for its monitor."""
    _no_shell_signs(domain)
    host.shell(f"kill -STOP $(cat /run/libvirt/qemu/{domain}.pid)")


def reserve_hugepages(host: VirtualGpuHost, node: int, pages: int) -> int:
    """Set the number of 2 MiB hugepages of one NUMA node.

    Returns how many the kernel could give. A fresh host has none.
    """
    folder = f"/sys/devices/system/node/node{int(node)}/hugepages/hugepages-2048kB"
    host.shell(f"echo {int(pages)} > {folder}/nr_hugepages")
    return int(host.shell(f"cat {folder}/nr_hugepages"))


Fault = Callable[..., object]
FAULTS: dict[str, Fault] = {
    "unplug-card": unplug_card,
    "plug-card": plug_card,
    "kill-libvirtd": kill_libvirtd,
    "stop-libvirtd": stop_libvirtd,
    "continue-libvirtd": continue_libvirtd,
    "pause-host": pause_host,
    "continue-host": continue_host,
    "kill-host": kill_host,
    "kill-guest": kill_guest,
    "stop-guest": stop_guest,
    "reserve-hugepages": reserve_hugepages,
}


def fault_arguments(name: str) -> str:
    """Return the arguments of a fault as the command line shows them."""
    parameters = list(inspect.signature(FAULTS[name]).parameters.values())[1:]
    return " ".join(
        f"[{p.name.upper()}]" if p.default is not p.empty else p.name.upper()
        for p in parameters
    )


def _no_shell_signs(domain: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", domain):
        raise NoSuchTarget(f"{domain!r} is not the name of a guest")
