"""Break a running host on purpose: one function for each fault that can be had.

FAULTS maps the names of the command line to them.
"""

import inspect
import re
import time
from collections.abc import Callable

from tests.gpuhost import process
from tests.gpuhost.errors import CommandFailed, NoSuchTarget, QmpRefused
from tests.gpuhost.host import VirtualGpuHost
from tests.gpuhost.machine import CARDS, NETWORK, SPARE_PORT, card_functions


def unplug_card(host: VirtualGpuHost, slot: int | str) -> None:
    """Pull out the card in slot 0..N-1 or "spare".

    A free card is gone from libvirt's list after 5 s; one in use is gone when its
    guest ends, and until then everything looks as before.
    """
    name, _port, _address = _slot(host, slot)
    try:
        host.qmp("device_del", id=f"{name}.0")
    except QmpRefused as error:
        raise NoSuchTarget(str(error)) from error


def plug_card(
    host: VirtualGpuHost, model: str = "", slot: int | str = SPARE_PORT
) -> str:
    """Put a card (of the host's model unless told) into an empty slot.

    Returns the PCI address it will have; libvirt lists it within a second. Blocks up
    to 5 s while a card that was pulled out of the slot is still being let go.
    """
    card = CARDS[model] if model else host.card
    name, port, address = _slot(host, slot)
    until = time.monotonic() + 5
    while _is_filled(host, name) and time.monotonic() < until:
        time.sleep(0.1)
    try:
        for value in card_functions(card, name, port):
            driver, *pairs = value.split(",")
            properties = dict(pair.split("=", 1) for pair in pairs)
            if "multifunction" in properties:
                properties["multifunction"] = True  # QMP wants a boolean
            host.qmp("device_add", driver=driver, **properties)
    except QmpRefused as error:
        raise NoSuchTarget(str(error)) from error
    return address


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


def cut_network(host: VirtualGpuHost) -> None:
    """Have the host's network lose every packet; TCP connects still succeed."""
    host.qmp("set_link", name=NETWORK, up=False)


def restore_network(host: VirtualGpuHost) -> None:
    """Have the network carry packets again, those of open connections too."""
    host.qmp("set_link", name=NETWORK, up=True)


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
    "cut-network": cut_network,
    "restore-network": restore_network,
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


def _slot(host: VirtualGpuHost, slot: int | str) -> tuple[str, str, str]:
    """Return the name, the root port and the PCI address of a slot."""
    if slot == SPARE_PORT:
        return SPARE_PORT, SPARE_PORT, host.board.spare_address
    if str(slot) not in map(str, range(host.board.cards)):
        raise NoSuchTarget(f"slots are 0..{host.board.cards - 1} and {SPARE_PORT}")
    return f"gpu{slot}", f"port{slot}", host.board.card_address(int(slot))


def _is_filled(host: VirtualGpuHost, name: str) -> bool:
    children = host.qmp("qom-list", path="/machine/peripheral")
    return any(child["name"].startswith(f"{name}.") for child in children)


def _no_shell_signs(domain: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", domain):
        raise NoSuchTarget(f"{domain!r} is not the name of a guest")
