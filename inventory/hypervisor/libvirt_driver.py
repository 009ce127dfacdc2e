"""The only module that opens libvirt: the port over one connection, as a child process.

`open()` to a frozen host hangs without limit and no signal interrupts a blocked libvirt
call (DESIGN.md section 6), so the connection lives in a process that can be killed:
`python -m inventory.hypervisor.libvirt_driver URI` answers JSON lines on its standard
streams, and with `--events` it tells of events; inventory.hypervisor.supervised and
inventory.hypervisor.events keep the deadlines.
"""

import errno
import json
import os
import resource
import select
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO
from uuid import uuid4

import libvirt  # noqa: TID251 -- this and libvirt_storage are the driver
from lxml import etree

from inventory.exceptions import (
    DomainNotFound,
    HostUnreachable,
    HypervisorError,
    InvalidXml,
    VolumeBusy,
)
from inventory.hypervisor.child import BEAT_S, MAX_MEMORY_BYTES
from inventory.hypervisor.libvirt_storage import (
    StorageMethods,
    empty_volume_xml,
    translates,
)
from inventory.hypervisor.port import DomainState

_KEEPALIVE_INTERVAL_S = 3
_KEEPALIVE_COUNT = 3
_DOMAIN_EVENTS = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: "defined",
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: "undefined",
    libvirt.VIR_DOMAIN_EVENT_STARTED: "started",
    libvirt.VIR_DOMAIN_EVENT_STOPPED: "stopped",
    libvirt.VIR_DOMAIN_EVENT_CRASHED: "crashed",
}
_DEVICE_EVENTS = {
    libvirt.VIR_NODE_DEVICE_EVENT_CREATED: "created",
    libvirt.VIR_NODE_DEVICE_EVENT_DELETED: "deleted",
}
_STATES = {
    libvirt.VIR_DOMAIN_RUNNING: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: DomainState.SHUTTING_DOWN,
    libvirt.VIR_DOMAIN_CRASHED: DomainState.CRASHED,
}
# Source: libvirt, virDomainShutoffReason. DAEMON: libvirt gave the domain up while it
# reconnected to it.
_SHUTOFF = {
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: DomainState.SHUT_DOWN,
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: DomainState.CRASHED,
    libvirt.VIR_DOMAIN_SHUTOFF_DAEMON: DomainState.CRASHED,
}
_INVALID = {
    libvirt.VIR_ERR_XML_ERROR,
    libvirt.VIR_ERR_XML_DETAIL,
    libvirt.VIR_ERR_XML_INVALID_SCHEMA,
}


class LibvirtHypervisor(StorageMethods):
    """The port over one libvirt connection, which it opens itself.

    lost: called when the connection is gone, whether or not a call is under way.
    """

    def __init__(self, uri: str, lost: Callable[[], None]) -> None:
        self._uri = uri
        self._connection = _open(uri, lost)

    def translated(self, error: libvirt.libvirtError) -> HypervisorError:
        """Return our error for libvirt's; a dead connection counts before any code.

        After keepalive gave up, the call fails with code 1, which says nothing (measured).
        """
        code = error.get_error_code() or 0
        if not self._connection.isAlive():
            return HostUnreachable(str(error), code)
        if code == libvirt.VIR_ERR_NO_DOMAIN:
            return DomainNotFound(str(error), code)
        if code in _INVALID:
            return InvalidXml(str(error), code)
        if (
            code == libvirt.VIR_ERR_OPERATION_INVALID
            and error.get_error_domain() == libvirt.VIR_FROM_STORAGE
        ):
            # "still in use" or "still being allocated"; pools are started before.
            return VolumeBusy(str(error), code)
        return HypervisorError(str(error), code)

    @translates
    def capabilities(self) -> str:
        return str(self._connection.getCapabilities())

    @translates
    def pci_devices(self) -> list[str]:
        devices = self._connection.listAllDevices(
            libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV
        )
        documents = []
        for device in devices:
            try:
                documents.append(device.XMLDesc(0))
            except libvirt.libvirtError as error:
                # Unplugged between the listing and now: it is not there, which is true.
                if not _is_unplugged(error):
                    raise
        return documents

    @translates
    def domains(self) -> dict[str, DomainState]:
        states = {}
        for domain in self._connection.listAllDomains():
            try:
                states[domain.UUIDString()] = self._state(domain)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
        return states

    @translates
    def domain_documents(self) -> dict[str, str]:
        documents = {}
        for domain in self._connection.listAllDomains():
            try:
                documents[domain.UUIDString()] = str(domain.XMLDesc(0))
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
        return documents

    @translates
    def cpu_seconds(self) -> float | None:
        try:
            times = self._connection.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
                return None
            raise
        return float(sum(times.values())) / 1e9

    @translates
    def versions(self) -> tuple[int, int]:
        return self._connection.getLibVersion(), self._connection.getVersion()

    @translates
    def domain_capabilities(self, domain_type: str) -> str:
        return str(
            self._connection.getDomainCapabilities(None, "x86_64", "q35", domain_type)
        )

    @translates
    def free_pages(self, node: int, size_kib: int) -> int:
        counts = self._connection.getFreePages([size_kib], node, 1)
        # libvirt's test driver answers without any cell.
        return int(counts.get(node, {}).get(size_kib, 0))

    @translates
    def pools(self) -> dict[str, int | None]:
        # virStoragePoolInfo: state, capacity, allocation, available.
        return {
            pool.name(): int(pool.info()[3]) if pool.isActive() else None
            for pool in self._connection.listAllStoragePools()
        }

    @translates
    def networks(self) -> dict[str, bool]:
        return {
            network.name(): bool(network.isActive())
            for network in self._connection.listAllNetworks()
        }

    @translates
    def clock(self, pool: str) -> float | None:
        if self.pools().get(pool) is None:
            return None
        made = self._connection.storagePoolLookupByName(pool).createXML(
            empty_volume_xml(f"clock-{uuid4()}")
        )
        try:
            mtime = etree.fromstring(made.XMLDesc()).findtext("target/timestamps/mtime")
        finally:
            made.delete()
        return float(mtime) if mtime else None

    @staticmethod
    def _state(domain: libvirt.virDomain) -> DomainState:
        state, reason = domain.state()
        if state == libvirt.VIR_DOMAIN_SHUTOFF:
            return _SHUTOFF.get(reason, DomainState.OFF)
        return _STATES.get(state, DomainState.OTHER)

    def _domain(self, uuid: str) -> libvirt.virDomain:
        return self._connection.lookupByUUIDString(uuid)

    @translates
    def define_domain(self, xml: str) -> None:
        self._connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)

    @translates
    def start_domain(self, uuid: str) -> None:
        self._domain(uuid).create()

    @translates
    def domain_state(self, uuid: str) -> DomainState:
        return self._state(self._domain(uuid))

    @translates
    def domain_xml(self, uuid: str) -> str:
        return str(self._domain(uuid).XMLDesc(0))

    @translates
    def shutdown_domain(self, uuid: str) -> None:
        self._domain(uuid).shutdown()

    @translates
    def destroy_domain(self, uuid: str) -> None:
        domain = self._domain(uuid)
        try:
            domain.destroy()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
                raise
            if domain.isActive():
                raise

    @translates
    def undefine_domain(self, uuid: str) -> None:
        self._domain(uuid).undefine()


def _is_unplugged(error: libvirt.libvirtError) -> bool:
    """While a device is being let go libvirt lists it still, and finds no file of it."""
    code = error.get_error_code()
    return code == libvirt.VIR_ERR_NO_NODE_DEVICE or (
        code == libvirt.VIR_ERR_SYSTEM_ERROR and error.get_int1() == errno.ENOENT
    )


def _run_event_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _answer(hypervisor: LibvirtHypervisor, line: str) -> dict[str, Any]:
    request = json.loads(line)
    try:
        result = getattr(hypervisor, request["method"])(*request["args"])
    except HypervisorError as error:
        return _error(error)
    except OSError as error:
        # A file of this machine: the host has nothing to do with it.
        return _error(HypervisorError(str(error)))
    if isinstance(result, bytes):
        return {"bytes": result.hex()}
    return {"result": result}


def _error(error: HypervisorError) -> dict[str, Any]:
    return {"error": type(error).__name__, "message": str(error), "code": error.code}


def _open(uri: str, lost: Callable[[], None]) -> libvirt.virConnect:
    """Open a connection that notices when its peer is gone, and calls `lost` then."""
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError as error:
        raise HostUnreachable(str(error), error.get_error_code() or 0) from error
    # Drivers inside the library (test:///) have no peer to keep alive.
    with suppress(libvirt.libvirtError):
        connection.setKeepAlive(_KEEPALIVE_INTERVAL_S, _KEEPALIVE_COUNT)
    connection.registerCloseCallback(lambda *_: lost(), None)
    return connection


class _Answers:
    """JSON lines on a stream, from several threads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, answer: dict[str, Any]) -> None:
        with self._lock:
            self._stream.write(json.dumps(answer) + "\n")
            self._stream.flush()


def _prepare_libvirt() -> None:
    libvirt.registerErrorHandler(lambda *_: None, None)
    # Before open(): without the loop there is no keepalive and a dead peer hangs calls.
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_run_event_loop, daemon=True).start()


def serve(uri: str, requests: TextIO, answers: TextIO) -> None:
    """Open `uri` and answer one JSON line with one; ends with the input.

    It ends with the connection, too: the next call then opens another, where it would
    fail on a dead one although the host is back.
    """
    _prepare_libvirt()
    send = _Answers(answers).send
    try:
        hypervisor = LibvirtHypervisor(uri, lambda: os._exit(0))
    except HypervisorError as error:
        send(_error(error))
        return
    send({"result": "open"})
    for line in requests:
        send(_answer(hypervisor, line))


def tell_events(uri: str, answers: TextIO) -> None:
    """Open `uri` and tell of each event, and every BEAT_S of life; ends with the host."""
    _prepare_libvirt()
    send = _Answers(answers).send
    lost = threading.Event()

    def domain_event(_: Any, domain: Any, event: int, _detail: int, _o: Any) -> None:
        if event in _DOMAIN_EVENTS:
            send({"subject": domain.UUIDString(), "what": _DOMAIN_EVENTS[event]})

    def device_event(_: Any, device: Any, event: int, _detail: int, _o: Any) -> None:
        # Every guest's network card comes and goes as a device too.
        if event in _DEVICE_EVENTS and device.name().startswith("pci_"):
            send({"subject": device.name(), "what": _DEVICE_EVENTS[event]})

    try:
        connection = _open(uri, lost.set)
    except HypervisorError as error:
        send(_error(error))
        return
    lifecycle = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
    connection.domainEventRegisterAny(None, lifecycle, domain_event, None)
    lifecycle = libvirt.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE
    connection.nodeDeviceEventRegisterAny(None, lifecycle, device_event, None)
    send({"result": "open"})
    while not lost.wait(BEAT_S):
        send({})


def _end_with_parent(requests: TextIO) -> None:
    """End this process with its parent, even while libvirt hangs in a call.

    A worker that is killed would else leave one for each host that is frozen.
    """
    hung_up = select.poll()
    hung_up.register(requests, 0)
    hung_up.poll()
    os._exit(0)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    threading.Thread(target=_end_with_parent, args=(sys.stdin,), daemon=True).start()
    if "--events" in sys.argv[2:]:
        tell_events(sys.argv[1], sys.stdout)
    else:
        serve(sys.argv[1], sys.stdin, sys.stdout)
    sys.stdout.flush()
    # The event loop thread may hold a lock of libvirt's: leave without its clean-up.
    os._exit(0)
