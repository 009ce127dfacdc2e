"""Which hosts are worth a look, as their subscriptions come, tell, and go."""

import queue
import subprocess
import threading
import uuid
from collections.abc import Iterator

import pytest

from inventory.event_watch import UNHEARD, EventWatch
from inventory.exceptions import HostUnreachable
from inventory.hypervisor.events import EventSubscription, HostEvent
from inventory.hypervisor.supervised import SupervisedHypervisor
from tests.gpuhost import faults
from tests.gpuhost.host import VirtualGpuHost
from tests.simulated import stranger_on

SOON_S = 10.0


class Wire:
    """One host's events, told by the test; None in the queue loses the connection."""

    def __init__(self) -> None:
        self.told: queue.Queue[HostEvent | None] = queue.Queue()
        self.answers = threading.Event()
        self.answers.set()
        self.opened: queue.Queue[bool] = queue.Queue()
        self.live = 0

    def __call__(self, uri: str) -> "Wire":
        self.live += 1
        return self

    def wait_open(self) -> None:
        if not self.answers.is_set():
            self.opened.put(False)
            raise HostUnreachable("refused")
        self.opened.put(True)

    def events(self) -> Iterator[HostEvent]:
        while (event := self.told.get()) is not None:
            yield event
        raise HostUnreachable("lost")

    def interrupt(self) -> None:
        self.told.put(None)

    def close(self) -> None:
        self.live -= 1

    def tell(self, subject: str) -> None:
        self.told.put(HostEvent(subject, "stopped"))


class Frozen(Wire):
    """Its open() hangs until it is interrupted."""

    def wait_open(self) -> None:
        self.told.get()
        raise HostUnreachable("interrupted")


@pytest.fixture
def wires() -> dict[str, Wire]:
    return {"one": Wire(), "two": Wire(), "ice": Frozen()}


@pytest.fixture
def watch(wires: dict[str, Wire]) -> Iterator[EventWatch]:
    watch = EventWatch(lambda uri: wires[uri](uri), first_pause_s=0.01, gap_s=0.0)
    yield watch
    watch.stop()


def test_event_names_its_host_and_subject(
    watch: EventWatch, wires: dict[str, Wire]
) -> None:
    watch.follow({1: "one", 2: "two"})

    wires["two"].tell("a")

    assert watch.wait(SOON_S) == {2: {"a"}}
    assert watch.wait(0.0) == {}


def test_frozen_host_delays_no_other(watch: EventWatch, wires: dict[str, Wire]) -> None:
    watch.follow({3: "ice", 1: "one"})

    wires["one"].tell("a")

    assert watch.wait(SOON_S) == {1: {"a"}}


def test_lost_connection_is_news_and_so_is_its_return(
    watch: EventWatch, wires: dict[str, Wire]
) -> None:
    wire = wires["one"]
    watch.follow({1: "one"})
    assert wire.opened.get(timeout=SOON_S)
    wire.answers.clear()

    wire.told.put(None)

    assert watch.wait(SOON_S) == {1: {UNHEARD}}
    # Tried again, in vain and without news, until it answers.
    assert [wire.opened.get(timeout=SOON_S) for _ in range(2)] == [False, False]
    assert watch.wait(0.0) == {}
    wire.answers.set()
    assert watch.wait(SOON_S) == {1: {UNHEARD}}
    wire.tell("a")
    assert watch.wait(SOON_S) == {1: {"a"}}


def test_burst_is_told_once_and_the_rest_after_the_gap(wires: dict[str, Wire]) -> None:
    watch = EventWatch(lambda uri: wires[uri](uri), gap_s=3600.0)
    watch.follow({1: "one", 2: "two"})
    wires["one"].tell("a")
    assert watch.wait(SOON_S) == {1: {"a"}}

    wires["one"].tell("b")
    wires["two"].tell("c")

    assert watch.wait(SOON_S) == {2: {"c"}}
    assert watch.wait(0.0) == {}
    watch._gap_s = 0.0
    assert watch.wait(SOON_S) == {1: {"b"}}
    watch.stop()


def test_host_that_is_followed_no_more_is_let_go(
    watch: EventWatch, wires: dict[str, Wire]
) -> None:
    watch.follow({1: "one", 2: "two", 3: "ice"})
    assert wires["one"].opened.get(timeout=SOON_S)

    watch.follow({2: "two"})

    ended = [t for t in threading.enumerate() if t.name in ("events one", "events ice")]
    for thread in ended:
        thread.join(SOON_S)
    assert (wires["one"].live, wires["ice"].live) == (0, 0)
    assert watch.wait(0.0) == {}


def test_host_is_listened_to_once_its_driver_can_be_started(
    wires: dict[str, Wire],
) -> None:
    starts = iter([False, True])

    def subscribe(uri: str) -> Wire:
        if not next(starts):
            raise HostUnreachable("no driver can be started")
        return wires[uri](uri)

    watch = EventWatch(subscribe, first_pause_s=0.01)
    watch.follow({1: "one"})

    assert wires["one"].opened.get(timeout=SOON_S)
    watch.stop()


def test_driver_that_cannot_be_started_says_nothing_of_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)

    with pytest.raises(HostUnreachable, match="no driver can be started"):
        SupervisedHypervisor("test:///default").domains()


def test_driver_opens_and_ends_with_its_reader() -> None:
    subscription = EventSubscription("test:///default")
    subscription.wait_open()

    subscription.interrupt()

    with pytest.raises(HostUnreachable):
        list(subscription.events())
    subscription.close()


def test_driver_tells_why_it_cannot_open() -> None:
    subscription = EventSubscription("qemu+tcp://127.0.0.1:1/system")

    with pytest.raises(HostUnreachable, match="refused"):
        subscription.wait_open()
    subscription.close()


@pytest.mark.gpuhost
def test_driver_tells_of_domains_and_cards_until_the_host_is_gone(
    clean_virtual_host: VirtualGpuHost,
) -> None:
    uri = clean_virtual_host.running().libvirt_uri
    hypervisor, domain = SupervisedHypervisor(uri), str(uuid.uuid4())
    subscription = EventSubscription(uri)
    subscription.wait_open()
    told = subscription.events()

    hypervisor.define_domain(stranger_on("0000:21:00.0", domain))
    hypervisor.start_domain(domain)
    hypervisor.destroy_domain(domain)
    hypervisor.undefine_domain(domain)
    assert [next(told) for _ in range(4)] == [
        HostEvent(domain, what)
        for what in ("defined", "started", "stopped", "undefined")
    ]
    faults.unplug_card(clean_virtual_host, 3)
    assert next(told) == HostEvent("pci_0000_62_00_0", "deleted")
    faults.kill_libvirtd(clean_virtual_host)
    with pytest.raises(HostUnreachable):
        next(told)
    subscription.close()
    hypervisor.close()
    # The next test takes the host as it is.
    clean_virtual_host.wait_until_ready()
