"""A hypervisor in memory, held to the same contract tests as the libvirt driver.

It knows what libvirt's own test driver does not: a card belongs to one running domain.
"""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from inventory.exceptions import (
    DomainNotFound,
    HypervisorError,
    InvalidXml,
    VolumeBusy,
)
from inventory.hypervisor.check_domain import build_check_domain
from inventory.hypervisor.console import (
    CONSOLE_POOL,
    console_file,
    console_volume,
)
from inventory.hypervisor.port import Backing, DomainState, VolumeFacts
from inventory.hypervisor.xml import filters_named_in, parse_domain
from inventory.topology import PciAddress


class SimulatedHypervisor:
    """One host. capabilities and devices: documents that it reports."""

    def __init__(self, capabilities: str = "", devices: tuple[str, ...] = ()) -> None:
        self._capabilities = capabilities
        self.devices = list(devices)
        self.documents: dict[str, str] = {}
        self.states: dict[str, DomainState] = {}
        # A Unix time; 0 is long ago.
        self.up_since = 0.0
        self.version_numbers = (9000000, 7002000)
        self.pci_backends = ("default", "vfio")
        # (NUMA node, page size in KiB) -> free pages.
        self.free_page_counts: dict[tuple[int, int], int] = {}
        self.pool_sizes: dict[str, int | None] = {}
        self.network_states: dict[str, bool] = {}
        self.clock_skew_s = 0.0
        # By slot: bytes that a tenant left in the card's memory, bytes that fail a check.
        self.residue: dict[str, int] = {}
        self.bad_bytes: dict[str, int] = {}
        # By slot: the last tenant on the card. leaks: who met another's bytes, and whose.
        self.last_tenant: dict[str, str] = {}
        self.leaks: list[tuple[str, str, str]] = []
        self.volumes: dict[tuple[str, str], bytes] = {}
        self.disks: dict[tuple[str, str], VolumeFacts] = {}
        # By volume: how many more calls find it at work that nobody waits for.
        self.busy: dict[tuple[str, str], int] = {}
        # The documents of network filters, by name.
        self.filters: dict[str, str] = {}
        # Guests that do not heed ACPI.
        self.deaf: set[str] = set()
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
        return (time.time() - self.up_since) * self._capabilities.count("<cpu id=")

    def versions(self) -> tuple[int, int]:
        return self.version_numbers

    def domain_capabilities(self, domain_type: str) -> str:
        backends = "".join(f"<value>{name}</value>" for name in self.pci_backends)
        return (
            "<domainCapabilities><devices><hostdev supported='yes'>"
            f"<enum name='pciBackend'>{backends}</enum>"
            "</hostdev></devices></domainCapabilities>"
        )

    def free_pages(self, node: int, size_kib: int) -> int:
        return self.free_page_counts.get((node, size_kib), 0)

    def pools(self) -> dict[str, int | None]:
        return dict(self.pool_sizes)

    def networks(self) -> dict[str, bool]:
        return dict(self.network_states)

    def clock(self, pool: str) -> float | None:
        if self.pool_sizes.get(pool) is None:
            return None
        return time.time() + self.clock_skew_s

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
            for other, state in self.domains().items():
                if state is not DomainState.RUNNING:
                    continue
                taken = wanted.intersection(
                    parse_domain(self.documents[other]).hostdevs
                )
                if taken:
                    raise HypervisorError(f"PCI device {min(taken)} is in use", 55)
            for name in filters_named_in(self.documents[uuid]) - set(self.filters):
                raise HypervisorError(f"no nwfilter with matching name '{name}'", 62)
            self.states[uuid] = DomainState.RUNNING
            self.volumes[(CONSOLE_POOL, console_volume(uuid))] = self._print(uuid)

    def _print(self, uuid: str) -> bytes:
        """Return what the domain's guest prints: a tenant's probe, or a check guest."""
        text = self.documents[uuid]
        mode = re.search(r"mode=(\w+)", text)
        if mode is None:
            for address in parse_domain(text).hostdevs:
                self._use(address.slot_path, uuid)
            return b"PROBE-DONE\r\n"
        (card, *_) = parse_domain(text).hostdevs
        bad = self.bad_bytes.get(card.slot_path, 0)
        lines = [
            # As the lab's catalogue expects it: else no card would come back.
            f"CARD-CHECK version=1 mode={mode[1]}",
            "CARD index=0 ids=10de:1e30 class=030000 functions=1 bar_kib=4096 "
            "link_width=1",
        ]
        if mode[1] == "scrub":
            lines.append(f"SCRUBBED index=0 bytes=67108864 bad={bad} left=0")
            self.residue[card.slot_path] = 0
        else:
            left = self.residue.get(card.slot_path, 0)
            lines.append(f"MEMORY index=0 bytes=67108864 bad={bad} nonzero={left}")
        lines.append(f"CARD-CHECK-DONE cards=1 result={'fail' if bad else 'pass'}")
        return "\r\n".join([*lines, ""]).encode()

    def _use(self, slot: str, tenant: str) -> None:
        before = self.last_tenant.get(slot, tenant)
        if self.residue.get(slot) and before != tenant:
            self.leaks.append((slot, before, tenant))
        self.last_tenant[slot] = tenant
        self.residue[slot] = 4096

    def reboot(self) -> None:
        """Every domain is off; none starts by itself, and cards keep their bytes."""
        with self._lock:
            self.states = dict.fromkeys(self.states, DomainState.OFF)
            self.boot_anew()

    def boot_anew(self) -> None:
        self.up_since = time.time()

    def take_out(self, slot: str) -> list[str]:
        """Take the card out of its slot, or have it fall off the bus; return it."""
        bus = f"<bus>{int(slot.split(':')[1], 16)}</bus>"
        taken = [device for device in self.devices if bus in device]
        self.devices = [device for device in self.devices if bus not in device]
        return taken

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
        if uuid not in self.deaf:
            self.states[uuid] = DomainState.SHUT_DOWN

    def destroy_domain(self, uuid: str) -> None:
        if self.domain_state(uuid).is_on:
            self.states[uuid] = DomainState.OFF

    def undefine_domain(self, uuid: str) -> None:
        self.domain_state(uuid)
        del self.states[uuid], self.documents[uuid]

    def ensure_folder_pool(self, name: str, path: str) -> None:
        if self.pool_sizes.get(name) is None:
            self.pool_sizes[name] = 8 << 30
        self.volumes.setdefault((name, ""), path.encode())

    def volume(self, pool: str, volume: str) -> VolumeFacts | None:
        return self.disks.get((pool, volume))

    def volume_names(self, pool: str) -> list[str]:
        known = {*self.disks, *self.volumes}
        return sorted(name for held, name in known if held == pool and name)

    def create_volume(
        self,
        pool: str,
        volume: str,
        capacity: int,
        format: str,
        backing: Backing | None = None,
    ) -> None:
        with self._lock:
            self._need_pool(pool)
            if (pool, volume) in self.disks:
                raise HypervisorError(f"storage volume '{volume}' exists already", 90)
            path = ""
            if backing is not None:
                self._need_volume(backing.pool, backing.volume)
                path = self._path(backing.pool, backing.volume)
            self.disks[pool, volume] = VolumeFacts(capacity, 0, format, path)
            self.volumes[pool, volume] = b""

    def clone_volume(self, pool: str, volume: str, source: Backing) -> None:
        with self._lock:
            facts = self._need_volume(source.pool, source.volume)
            self.create_volume(pool, volume, facts.capacity, "qcow2")
            self._fill(pool, volume, self.volumes[source.pool, source.volume])

    def resize_volume(self, pool: str, volume: str, capacity: int) -> None:
        with self._lock:
            self._need_idle(pool, volume)
            facts = self._need_volume(pool, volume)
            if capacity < facts.capacity:
                raise HypervisorError("cannot shrink a volume", 8)
            self.disks[pool, volume] = replace(facts, capacity=capacity)

    def wipe_volume(self, pool: str, volume: str) -> None:
        with self._lock:
            self._need_idle(pool, volume)
            if (pool, volume) in self.disks:
                self._fill(pool, volume, b"")

    def upload_volume(
        self, pool: str, volume: str, source: str, offset: int, length: int
    ) -> None:
        with Path(source).open("rb") as file:
            file.seek(offset)
            part = file.read(length)
        with self._lock:
            self._need_volume(pool, volume)
            self._need_idle(pool, volume)
            content = self.volumes[pool, volume].ljust(offset, b"\0")
            self._fill(
                pool, volume, content[:offset] + part + content[offset + len(part) :]
            )

    def write_volume(self, pool: str, volume: str, content: bytes) -> None:
        with self._lock:
            self.create_volume(pool, volume, len(content), "raw")
            self._fill(pool, volume, content)

    def define_filter(self, xml: str) -> None:
        (name,) = re.findall(r"<filter [^>]*name=\"([^\"]+)\"", xml)
        self.filters[name] = xml

    def undefine_filter(self, name: str) -> None:
        with self._lock:
            if any(
                state.is_on and name in filters_named_in(self.documents[uuid])
                for uuid, state in self.domains().items()
            ):
                raise HypervisorError(f"nwfilter '{name}' is in use", 55)
            self.filters.pop(name, None)

    def filter_names(self) -> list[str]:
        return sorted(self.filters)

    def _path(self, pool: str, volume: str) -> str:
        return f"{self.volumes[pool, ''].decode()}/{volume}"

    def _need_pool(self, pool: str) -> None:
        if (pool, "") not in self.volumes:
            raise HypervisorError(f"no storage pool with matching name '{pool}'", 49)

    def _need_volume(self, pool: str, volume: str) -> VolumeFacts:
        self._need_pool(pool)
        if (pool, volume) not in self.disks:
            raise HypervisorError(f"no storage vol with matching name '{volume}'", 50)
        return self.disks[pool, volume]

    def _need_idle(self, pool: str, volume: str) -> None:
        left = self.busy.get((pool, volume), 0)
        if left:
            self.busy[pool, volume] = left - 1
            raise VolumeBusy(f"volume '{volume}' is still in use.", 55)

    def _fill(self, pool: str, volume: str, content: bytes) -> None:
        """Have a volume hold `content`, which takes room of its pool."""
        facts = self.disks[pool, volume]
        free = (self.pool_sizes[pool] or 0) + facts.allocation - len(content)
        if free < 0:
            raise HypervisorError("cannot extend file: No space left on device", 38)
        self.pool_sizes[pool] = free
        self.volumes[pool, volume] = content
        form = "qcow2" if content.startswith(b"QFI\xfb") else facts.format
        self.disks[pool, volume] = replace(facts, allocation=len(content), format=form)

    def read_volume_tail(self, pool: str, volume: str, max_bytes: int) -> bytes:
        return self.volumes.get((pool, volume), b"")[-max_bytes:]

    def delete_volume(self, pool: str, volume: str) -> None:
        with self._lock:
            self._need_idle(pool, volume)
            facts = self.disks.pop((pool, volume), None)
            if facts is not None:
                self.pool_sizes[pool] = (self.pool_sizes[pool] or 0) + facts.allocation
            self.volumes.pop((pool, volume), None)

    def close(self) -> None:
        """There is no child to end; nothing is lost."""


def stranger_on(address: str, uuid: str) -> str:
    """Return the document of a domain that is none of ours and holds one card."""
    return build_check_domain(
        uuid=uuid,
        name=f"stranger-{uuid[:8]}",
        title="a stranger",
        domain_type="qemu",
        kernel_path="/var/lib/libvirt/images/probe.elf",
        initrd_path="",
        cmdline="",
        memory_mib=64,
        functions=(PciAddress.parse(address),),
        node=None,
        cpus=(),
        console_file=console_file(uuid),
    )


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
