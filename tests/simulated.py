"""A hypervisor in memory, held to the same contract tests as the libvirt driver.

It knows what libvirt's own test driver does not: a card belongs to one running domain.
"""

import threading
from collections.abc import Callable
from typing import Any

from inventory.exceptions import DomainNotFound, HypervisorError, InvalidXml
from inventory.hypervisor.port import DomainState
from inventory.hypervisor.xml import parse_domain


class SimulatedHypervisor:
    """One host. capabilities and devices: documents that it reports."""

    def __init__(self, capabilities: str = "", devices: tuple[str, ...] = ()) -> None:
        self._capabilities = capabilities
        self.devices = list(devices)
        self.documents: dict[str, str] = {}
        self.states: dict[str, DomainState] = {}
        self.cpu_time_s = 1000.0
        self.volumes: dict[tuple[str, str], bytes] = {}
        self._lock = threading.RLock()

    def capabilities(self) -> str:
        return self._capabilities

    def pci_devices(self) -> list[str]:
        return list(self.devices)

    def domains(self) -> dict[str, DomainState]:
        return dict(self.states)

    def domain_documents(self) -> dict[str, str]:
        return dict(self.documents)

    def cpu_seconds(self) -> float | None:
        return self.cpu_time_s

    def define_domain(self, xml: str) -> None:
        with self._lock:
            live = parse_domain(xml)
            if "<memory" not in xml:
                raise InvalidXml("no memory", 27)
            self.documents[live.uuid] = xml
            self.states.setdefault(live.uuid, DomainState.OFF)

    def start_domain(self, uuid: str) -> None:
        with self._lock:
            if self.domain_state(uuid) is DomainState.RUNNING:
                raise HypervisorError("domain is already running", 55)
            wanted = set(parse_domain(self.documents[uuid]).hostdevs)
            for other, state in self.states.items():
                if state is not DomainState.RUNNING:
                    continue
                taken = wanted.intersection(
                    parse_domain(self.documents[other]).hostdevs
                )
                if taken:
                    raise HypervisorError(f"PCI device {min(taken)} is in use", 55)
            self.states[uuid] = DomainState.RUNNING
            self.volumes[("gpucloud-console", f"{uuid}.log")] = b"PROBE-DONE\r\n"

    def domain_state(self, uuid: str) -> DomainState:
        if uuid not in self.states:
            raise DomainNotFound(f"no domain {uuid}", 42)
        return self.states[uuid]

    def domain_xml(self, uuid: str) -> str:
        self.domain_state(uuid)
        return self.documents[uuid]

    def shutdown_domain(self, uuid: str) -> None:
        if self.domain_state(uuid) is not DomainState.RUNNING:
            raise HypervisorError("domain is not running", 55)
        self.states[uuid] = DomainState.OFF

    def destroy_domain(self, uuid: str) -> None:
        self.domain_state(uuid)
        self.states[uuid] = DomainState.OFF

    def undefine_domain(self, uuid: str) -> None:
        self.domain_state(uuid)
        del self.states[uuid], self.documents[uuid]

    def ensure_folder_pool(self, name: str, path: str) -> None:
        self.volumes.setdefault((name, ""), path.encode())

    def read_volume_tail(self, pool: str, volume: str, max_bytes: int) -> bytes:
        return self.volumes.get((pool, volume), b"")[-max_bytes:]

    def delete_volume(self, pool: str, volume: str) -> None:
        self.volumes.pop((pool, volume), None)


class Faulty:
    """Wraps any hypervisor and calls `before` with each method's name; it may raise."""

    def __init__(self, inner: Any, before: Callable[[str], None]) -> None:
        self._inner = inner
        self._before = before

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self._before(name)
            return method(*args, **kwargs)

        return call
