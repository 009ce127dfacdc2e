"""Two simulated hosts with recorded hardware, and what may befall whoever works on them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from inventory.choices import CardCondition
from inventory.enrolment import EnrolmentOrder, enrol
from inventory.exceptions import HostUnreachable, HypervisorError
from inventory.hypervisor.port import Hypervisor
from inventory.ledger import Actor, change_condition, lock_host, refresh_shape
from inventory.models import Host
from tests.builders import make_check, make_gpu_model, make_region
from tests.conftest import recorded, recorded_devices
from tests.simulated import Faulty, SimulatedHypervisor

SLOTS = ("0000:21:00", "0000:22:00", "0000:61:00", "0000:62:00")
_UUID = "3e8ee270-efbc-5380-9b18-574472d967a6"


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the product catches it."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What befalls a worker, and at which call to a host, or at which query.

    what: nothing, silent (from that call on), refused, killed, killed in query, or the
    name of something that others do just then.
    """

    what: str = "nothing"
    at: int = 0


@dataclass(slots=True)
class Site:
    """One host as it is. devices: all its cards, those that are taken out too."""

    host_id: int
    uri: str
    hypervisor: SimulatedHypervisor
    devices: tuple[str, ...]
    is_silent: bool = False
    strangers: set[str] = field(default_factory=set)


def make_site(number: int) -> Site:
    """Enrol one host; its four cards are ready."""
    uri = f"qemu+tls://gpu{number}.example.net/system"
    capabilities = recorded("capabilities-2x2.xml")
    assert _UUID in capabilities
    devices = recorded_devices("pci-2x2-rtx6000.xml")
    hypervisor = SimulatedHypervisor(
        capabilities.replace(_UUID, f"{_UUID[:-1]}{number}"), devices
    )
    make_region()
    make_gpu_model()
    order = EnrolmentOrder(
        uri, "us-east", f"gpu{number}", reserved_cores=0, reserved_memory_mib=256
    )
    host = enrol(order, "user:ann", hypervisor).host
    make_ready(host)
    return Site(host.pk, uri, hypervisor, devices)


@transaction.atomic
def make_ready(host: Host) -> None:
    """Have every new card of the host tested, with evidence and ledger but no guest."""
    actor = Actor("test:fleet", "made for a test")
    lock_host(host.pk)
    for card in host.cards.all():
        change_condition(card, CardCondition.TESTING, actor)
        change_condition(card, CardCondition.READY, actor, check=make_check(card))
    refresh_shape(host)


class Worker:
    """Works under one fate; `meanwhile` does what others do at that call."""

    def __init__(
        self, sites: list[Site], fate: Fate, meanwhile: Callable[[str], None]
    ) -> None:
        self._sites = {site.uri: site for site in sites}
        self._fate = fate
        self._meanwhile = meanwhile
        self._calls = 0
        self._queries = 0

    def connect(self, uri: str) -> Hypervisor:
        site = self._sites[uri]
        faulty: Any = Faulty(site.hypervisor, lambda name: self._before(site, name))
        return faulty

    def _before(self, site: Site, name: str) -> None:
        assert not connection.in_atomic_block, f"{name} within a transaction"
        call, self._calls = self._calls, self._calls + 1
        if site.is_silent or (self._fate.what == "silent" and call >= self._fate.at):
            raise HostUnreachable(f"{site.uri}: no answer")
        if call != self._fate.at:
            return
        if self._fate.what == "killed":
            raise Killed
        if self._fate.what == "refused":
            raise HypervisorError("refused for a test", 1)
        self._meanwhile(self._fate.what)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Die without a trace where fate wants it: what was not committed is undone."""
        try:
            with connection.execute_wrapper(self._query):
                yield
        except Killed:
            connection.close()

    def _query(self, execute: Any, *args: Any) -> Any:
        query, self._queries = self._queries, self._queries + 1
        if (self._fate.what, self._fate.at) == ("killed in query", query):
            raise Killed
        return execute(*args)
