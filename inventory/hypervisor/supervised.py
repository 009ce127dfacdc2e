"""A Hypervisor whose connection lives in a child process with a deadline for every call.

A call that does not answer in time costs the child its life and raises HostUnreachable;
the next call starts a new one. So a frozen host holds no caller longer than the deadline.
"""

import json
import os
import threading
from typing import Any

from inventory import exceptions
from inventory.exceptions import HostUnreachable, HypervisorError, VolumeBusy
from inventory.hypervisor.child import OPEN_TIMEOUT_S, DriverChild, NotInTime
from inventory.hypervisor.port import Backing, DomainState, VolumeFacts
from inventory.hypervisor.schemes import Driver, added_opener

CALL_TIMEOUT_S = 30.0
# Under emulation libvirt asks QEMU's CPU model hundreds of questions: 7-22 s measured.
CAPABILITIES_TIMEOUT_S = 60.0
# That, and guest RAM is set up before create() returns; a TiB takes minutes.
START_TIMEOUT_S = 300.0
DESTROY_TIMEOUT_S = 60.0
# libvirt runs one command for each rule of each guest that has the filter.
FILTER_TIMEOUT_S = 120.0
# A volume's content copied or wiped by the host itself; below a job's own time limit.
COPY_TIMEOUT_S = 600.0
# What a slow line carries; measured 10 MB/s to an emulated host.
_SLOWEST_BYTES_PER_S = 1 << 20

_ERRORS: dict[str, type[HypervisorError]] = {
    name: error
    for name, error in vars(exceptions).items()
    if isinstance(error, type) and issubclass(error, HypervisorError)
}


class SupervisedHypervisor:
    """The port for one URI. Calls from several threads take turns."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._child: DriverChild | None = None
        self._lock = threading.Lock()
        self._owner_pid = 0

    # -- the port --------------------------------------------------------------------
    def capabilities(self) -> str:
        return str(self._call("capabilities"))

    def pci_devices(self) -> list[str]:
        return list(self._call("pci_devices"))

    def domains(self) -> dict[str, DomainState]:
        states = self._call("domains")
        return {uuid: DomainState(state) for uuid, state in states.items()}

    def domain_documents(self) -> dict[str, str]:
        return dict(self._call("domain_documents"))

    def cpu_seconds(self) -> float | None:
        seconds = self._call("cpu_seconds")
        return None if seconds is None else float(seconds)

    def versions(self) -> tuple[int, int]:
        libvirt, hypervisor = self._call("versions")
        return int(libvirt), int(hypervisor)

    def domain_capabilities(self, domain_type: str) -> str:
        return str(
            self._call(
                "domain_capabilities", domain_type, timeout_s=CAPABILITIES_TIMEOUT_S
            )
        )

    def free_pages(self, node: int, size_kib: int) -> int:
        return int(self._call("free_pages", node, size_kib))

    def pools(self) -> dict[str, int | None]:
        return dict(self._call("pools"))

    def networks(self) -> dict[str, bool]:
        return dict(self._call("networks"))

    def clock(self, pool: str) -> float | None:
        seconds = self._call("clock", pool)
        return None if seconds is None else float(seconds)

    def define_domain(self, xml: str) -> None:
        self._call("define_domain", xml)

    def start_domain(self, uuid: str) -> None:
        self._call("start_domain", uuid, timeout_s=START_TIMEOUT_S)

    def domain_state(self, uuid: str) -> DomainState:
        return DomainState(self._call("domain_state", uuid))

    def domain_xml(self, uuid: str) -> str:
        return str(self._call("domain_xml", uuid))

    def shutdown_domain(self, uuid: str) -> None:
        self._call("shutdown_domain", uuid)

    def destroy_domain(self, uuid: str) -> None:
        self._call("destroy_domain", uuid, timeout_s=DESTROY_TIMEOUT_S)

    def undefine_domain(self, uuid: str) -> None:
        self._call("undefine_domain", uuid)

    def ensure_folder_pool(self, name: str, path: str) -> None:
        self._call("ensure_folder_pool", name, path)

    def volume(self, pool: str, volume: str) -> VolumeFacts | None:
        facts = self._call("volume", pool, volume)
        return None if facts is None else VolumeFacts(**facts)

    def volume_names(self, pool: str) -> list[str]:
        return list(self._call("volume_names", pool))

    def create_volume(
        self,
        pool: str,
        volume: str,
        capacity: int,
        format: str,
        backing: Backing | None = None,
    ) -> None:
        based_on = [backing.pool, backing.volume, backing.format] if backing else []
        self._call("create_volume", pool, volume, capacity, format, based_on)

    def clone_volume(self, pool: str, volume: str, source: Backing) -> None:
        copied = [source.pool, source.volume]
        self._call(
            *("clone_volume", pool, volume, "qcow2", copied),
            timeout_s=COPY_TIMEOUT_S,
            late=VolumeBusy,
        )

    def resize_volume(self, pool: str, volume: str, capacity: int) -> None:
        self._call("resize_volume", pool, volume, capacity)

    def wipe_volume(self, pool: str, volume: str) -> None:
        self._call(
            *("wipe_volume", pool, volume), timeout_s=COPY_TIMEOUT_S, late=VolumeBusy
        )

    def upload_volume(
        self, pool: str, volume: str, source: str, offset: int, length: int
    ) -> None:
        timeout_s = CALL_TIMEOUT_S + length / _SLOWEST_BYTES_PER_S
        self._call(
            *("upload_volume", pool, volume, source, offset, length),
            timeout_s=timeout_s,
        )

    def write_volume(self, pool: str, volume: str, content: bytes) -> None:
        timeout_s = CALL_TIMEOUT_S + len(content) / _SLOWEST_BYTES_PER_S
        self._call("write_volume", pool, volume, content.hex(), timeout_s=timeout_s)

    def define_filter(self, xml: str) -> None:
        self._call("define_filter", xml, timeout_s=FILTER_TIMEOUT_S)

    def undefine_filter(self, name: str) -> None:
        self._call("undefine_filter", name)

    def filter_names(self) -> list[str]:
        return list(self._call("filter_names"))

    def read_volume_tail(self, pool: str, volume: str, max_bytes: int) -> bytes:
        return bytes(self._call("read_volume_tail", pool, volume, max_bytes))

    def delete_volume(self, pool: str, volume: str) -> None:
        self._call("delete_volume", pool, volume)

    # -- the child -------------------------------------------------------------------
    def close(self) -> None:
        """End the child; the next call starts another."""
        with self._lock:
            self._kill()

    def _call(
        self,
        method: str,
        *args: Any,
        timeout_s: float = CALL_TIMEOUT_S,
        late: type[HypervisorError] = HostUnreachable,
    ) -> Any:
        """late: what is raised at the deadline, while the connection is alive."""
        with self._lock:
            child = self._open_child()
            request = json.dumps({"method": method, "args": args}).encode()
            try:
                child.write_line(request, method)
                answer = child.read_line(timeout_s, method)
            except NotInTime as lateness:
                self._kill()
                raise late(str(lateness)) from lateness
            except BaseException:
                # Ctrl-C too: the late answer would be taken for the next call's.
                self._kill()
                raise
            if "error" not in answer:
                if "bytes" in answer:
                    return bytes.fromhex(answer["bytes"])
                return answer["result"]
            error = error_of(answer)
            if isinstance(error, HostUnreachable):
                # libvirt does not reconnect; a child with a dead connection stays dead.
                self._kill()
            raise error

    def _open_child(self) -> DriverChild:
        if self._owner_pid != os.getpid():
            # After a fork the child belongs to the parent: two writers on one pipe.
            self._child = None
        if self._child is not None and self._child.is_running:
            return self._child
        self._owner_pid = os.getpid()
        self._child = child = DriverChild(self._uri)
        try:
            answer = child.read_line(OPEN_TIMEOUT_S, "open")
        except BaseException:
            self._kill()
            raise
        if "error" in answer:
            self._kill()
            raise error_of(answer)
        return child

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is not None and self._owner_pid == os.getpid():
            child.close()


def error_of(answer: dict[str, Any]) -> HypervisorError:
    """Return the error that the child told of."""
    kind = _ERRORS.get(answer["error"], HypervisorError)
    return kind(answer["message"], answer["code"])


_connections: dict[str, Driver] = {}
_connections_lock = threading.Lock()


def open_own(uri: str) -> Driver:
    """Return a connection to `uri` that nobody else uses; whoever opens it closes it."""
    opener = added_opener(uri) or SupervisedHypervisor
    return opener(uri)


def connect(uri: str) -> Driver:
    """Return this process's connection to `uri`; it is opened by the first call."""
    with _connections_lock:
        if uri not in _connections:
            _connections[uri] = open_own(uri)
        return _connections[uri]
