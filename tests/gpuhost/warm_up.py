"""Bring a freshly booted host to the state that is worth saving.

libvirt asks QEMU for its capabilities on first use, which takes most of the first
`create`; the first guest also pages QEMU in. Both are done once, before the save.
"""

import time

from tests.gpuhost.channels import shell
from tests.gpuhost.machine import Board, Card

_DOMAIN = """
<domain type='qemu'><name>warm-up</name><memory unit='MiB'>64</memory>
<vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type>
<kernel>/var/lib/libvirt/images/probe.elf</kernel></os>
<features><acpi/><apic/></features>
<devices><controller type='usb' model='none'/><memballoon model='none'/>
<serial type='pty'><log file='/tmp/warm-up.log' append='on'/></serial></devices>
</domain>
"""

# The page cache is dropped and only what every guest needs is read again: what is not
# in RAM need not be saved and loaded.
_SETTLE = """
rm -f /tmp/warm-up.* /var/log/libvirt/qemu/warm-up.log
sync
echo 3 > /proc/sys/vm/drop_caches
cat /usr/bin/qemu-system-x86_64.real /usr/lib/x86_64-linux-gnu/*.so* /usr/share/seabios/* \
  /usr/share/qemu/*.bin /var/lib/libvirt/images/probe.elf > /dev/null
"""


def warm_up(debug_port: int, board: Board, card: Card, deadline: float) -> None:
    """Wait until libvirt lists the cards, let it learn QEMU, and run one guest.

    Raises TimeoutError when time.monotonic() passes `deadline`, ShellFailed when a
    command fails.
    """
    device = card.vendor_device.partition(":")[2]
    count_cards = (
        "for name in $(virsh -q nodedev-list --cap pci 2>/dev/null); do"
        " virsh nodedev-dumpxml $name; done 2>/dev/null"
        f" | grep -c \"product id='0x{device}'\" || true"
    )
    while int(_run(debug_port, count_cards, deadline)) < board.cards:
        time.sleep(0.5)
    _run(debug_port, "virsh -q capabilities > /dev/null", deadline)
    _run(debug_port, "virsh -q domcapabilities --virttype qemu > /dev/null", deadline)
    _run(debug_port, f'cat > /tmp/warm-up.xml <<"END"{_DOMAIN}END', deadline)
    _run(debug_port, "virsh -q create /tmp/warm-up.xml", deadline)
    _run(
        debug_port,
        "until grep -q PROBE-DONE /tmp/warm-up.log; do sleep 0.2; done;"
        "virsh -q destroy warm-up",
        deadline,
    )
    _run(debug_port, _SETTLE, deadline)


def _run(debug_port: int, command: str, deadline: float) -> str:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("the host was not warmed up in time")
    return shell(debug_port, command, timeout_s=left_s)
