"""Read the serial console that a guest wrote, from its host."""

from instances.models import Instance
from instances.selectors import host_of, spec_of
from inventory.hypervisor.console import CONSOLE_POOL, console_volume
from inventory.hypervisor.supervised import connect

MAX_BYTES = 64 * 1024


def read_console(instance: Instance, max_bytes: int = MAX_BYTES) -> str:
    """Return the last `max_bytes` of the console; empty if nothing runs or is held.

    Blocks on the host up to the driver's deadline; raises HypervisorError.
    """
    host = host_of(instance)
    spec = spec_of(instance)
    if host is None or spec is None:
        return ""
    tail = connect(host.libvirt_uri).read_volume_tail(
        CONSOLE_POOL, console_volume(spec.uuid), max_bytes
    )
    return tail.decode("utf-8", errors="replace")
