"""Simulated hosts are shared by processes, late, faulty, and nothing for production."""

import subprocess
import sys
import time
import uuid
from argparse import ArgumentTypeError
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.checks import run_checks

from gpucloud_site.deploy_checks import hosts_are_real
from instances.reconcile import listened_hosts
from inventory.choices import CardCondition
from inventory.exceptions import HostUnreachable, HypervisorError
from inventory.hypervisor import schemes, supervised
from inventory.hypervisor.port import DomainState
from inventory.hypervisor.supervised import connect, open_own
from inventory.hypervisor.xml import parse_host
from inventory.models import Card, Host
from inventory.preflight import problem_of
from tests.builders import make_gpu_model, make_host, make_region
from tests.conftest import recorded
from tests.simulated import stranger_on
from tests.simulated_hosts import Fault, HostStore, SharedHypervisor, answer_from
from tests.simulated_hosts.board import Board, parse_board
from tests.simulated_hosts.cli import delay
from tests.simulated_hosts.driver import host_at
from tests.simulated_hosts.fleet import FleetOrder, simulate

CARD = "0000:21:00.0"
ROOT = Path(__file__).resolve().parents[2]
IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from tests.simulated_hosts import host_at
getattr(host_at(Path(sys.argv[1]), "simulated:///sim1"), sys.argv[2])(*sys.argv[3:])
"""


@pytest.fixture
def store(tmp_path: Path) -> HostStore:
    made = HostStore(tmp_path, "sim1")
    made.create(Board(2, 2))
    return made


@pytest.fixture
def host(store: HostStore) -> SharedHypervisor:
    return SharedHypervisor(store)


def by_another_process(folder: Path, verb: str, *arguments: str) -> int:
    return subprocess.run(  # noqa: S603 -- our own module
        [sys.executable, "-c", IN_ANOTHER_PROCESS, folder, verb, *arguments],
        cwd=ROOT,
        timeout=60,
        check=False,
    ).returncode


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let nobody sleep; give what was to be slept, in seconds."""
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: naps.append(seconds))
    return naps


def a_domain(host: SharedHypervisor) -> str:
    domain = str(uuid.uuid4())
    host.define_domain(stranger_on(CARD, domain))
    return domain


def test_what_one_process_does_another_sees(
    host: SharedHypervisor, tmp_path: Path
) -> None:
    domain = a_domain(host)

    assert by_another_process(tmp_path, "start_domain", domain) == 0

    assert host.domain_state(domain) is DomainState.RUNNING
    with pytest.raises(HypervisorError, match="already running"):
        host.start_domain(domain)


def test_of_many_that_want_one_card_one_gets_it(host: SharedHypervisor) -> None:
    domains = [a_domain(host) for _ in range(6)]

    def start(domain: str) -> bool:
        try:
            host.start_domain(domain)
        except HypervisorError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(start, domains)) == 1
    assert list(host.domains().values()).count(DomainState.RUNNING) == 1


@pytest.mark.parametrize(
    ("has_effect", "state"), [(False, DomainState.OFF), (True, DomainState.RUNNING)]
)
def test_caller_dies_before_or_after_the_host_did_its_part(
    store: HostStore,
    host: SharedHypervisor,
    tmp_path: Path,
    has_effect: bool,
    state: DomainState,
) -> None:
    domain = a_domain(host)
    store.inflict(Fault("start_domain", "kill", has_effect=has_effect))

    assert by_another_process(tmp_path, "start_domain", domain) == -9

    assert host.domain_state(domain) is state
    host.destroy_domain(domain)
    host.start_domain(domain)


def test_fault_hits_the_calls_it_is_for(
    store: HostStore, host: SharedHypervisor
) -> None:
    store.inflict(Fault("networks", "refuse", passes=1, times=2))

    assert host.networks() == {"gpucloud": True}
    for _ in range(2):
        assert host.pools() == {}
        with pytest.raises(HypervisorError, match="simulated:///sim1 refuses networks"):
            host.networks()
    assert host.networks() == {"gpucloud": True}


def test_silent_host_costs_the_deadline_until_it_is_healed(
    store: HostStore, host: SharedHypervisor, slept: list[float]
) -> None:
    store.inflict(Fault("*", "silent", times=None))
    for _ in range(2):
        with pytest.raises(HostUnreachable, match="no answer to domains in time"):
            host.domains()
    assert slept == [0, supervised.CALL_TIMEOUT_S] * 2

    store.inflict()

    assert host.domains() == {}


def test_lost_connection_leaves_the_effect(
    store: HostStore, host: SharedHypervisor
) -> None:
    domain = a_domain(host)
    store.inflict(Fault("start_domain", "unreachable", has_effect=True))

    with pytest.raises(HostUnreachable):
        host.start_domain(domain)

    assert host.domain_state(domain) is DomainState.RUNNING


def test_verb_takes_its_time_and_no_longer_than_the_deadline(
    store: HostStore, host: SharedHypervisor, slept: list[float]
) -> None:
    store.delay("*", 0.02)
    store.delay("start_domain", 1000.0)
    domain = a_domain(host)

    with pytest.raises(HostUnreachable, match="no answer to start_domain in time"):
        host.start_domain(domain)

    assert slept == [0.02, supervised.START_TIMEOUT_S]
    assert host.domain_state(domain) is DomainState.RUNNING


def test_guest_crashes_and_card_falls_off_for_all_to_see(
    store: HostStore, host: SharedHypervisor
) -> None:
    domain = a_domain(host)
    host.start_domain(domain)

    with store.host() as itself:
        itself.states[domain] = DomainState.CRASHED
        itself.take_out("0000:62:00")

    assert host.domain_state(domain) is DomainState.CRASHED
    assert len(host.pci_devices()) == 3


def test_caller_that_fails_changes_nothing(
    store: HostStore, host: SharedHypervisor
) -> None:
    domain = a_domain(host)

    def fail() -> None:
        with store.host() as itself:
            itself.states[domain] = DomainState.RUNNING
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert host.domain_state(domain) is DomainState.OFF


def test_untouched_host_is_small(store: HostStore, host: SharedHypervisor) -> None:
    host.capabilities()
    host.pci_devices()
    host.domains()

    assert store._path.stat().st_size <= 16384


@pytest.mark.parametrize("uri", ["simulated:///gone", "simulated:///../sim1"])
def test_host_that_is_not_there_does_not_answer(tmp_path: Path, uri: str) -> None:
    with pytest.raises(HostUnreachable, match="simulated"):
        host_at(tmp_path, uri).domains()


def test_host_has_the_ports_verbs_and_no_more(host: SharedHypervisor) -> None:
    assert hasattr(host, "start_domain")
    assert not hasattr(host, "states")


def test_board_reports_cores_memory_and_cards_of_each_node(tmp_path: Path) -> None:
    store = HostStore(tmp_path, "large")
    store.create(Board(4, 8, cores=16, memory_mib=2048))
    host = SharedHypervisor(store)

    facts = parse_host(host.capabilities(), host.pci_devices())

    assert [(n.number, len(n.cores), n.memory_mib) for n in facts.nodes] == [
        (number, 16, 2048) for number in range(4)
    ]
    assert len({cpu for n in facts.nodes for c in n.cores for cpu in c.cpus}) == 128
    groups = [(f.iommu_group, f.address, f.numa_node) for f in facts.functions]
    assert len(set(groups)) == 32
    assert [f.numa_node for f in facts.functions] == [
        n for n in range(4) for _ in "8" * 8
    ]


@pytest.mark.parametrize("text", ["2", "x4", "0x4", "2x40", "axb"])
def test_board_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="board"):
        parse_board(text)


def test_delay_is_read_or_refused() -> None:
    assert delay("start=1s") == ("start_domain", 1.0)
    assert delay("upload_volume=20ms") == ("upload_volume", 0.02)
    assert delay("*=0.5s") == ("*", 0.5)
    for text in ("start", "start=1h", "jump=1s"):
        with pytest.raises(ArgumentTypeError):
            delay(text)


@pytest.fixture
def lab(
    tmp_path: Path, settings: object, monkeypatch: pytest.MonkeyPatch, db: None
) -> Path:
    settings.LAB = True  # type: ignore[attr-defined]
    monkeypatch.setattr(schemes, "_openers", {})
    monkeypatch.setattr(supervised, "_connections", {})
    answer_from(tmp_path)
    make_region()
    make_gpu_model()
    return tmp_path


def test_fleet_of_simulated_hosts_can_sell(lab: Path) -> None:
    hosts = list(simulate(FleetOrder(3, Board(2, 4), delays={"*": 0.001}), lab))

    assert [host.libvirt_uri for host in hosts] == [
        f"simulated:///sim{number}" for number in (1, 2, 3)
    ]
    assert Card.objects.filter(condition=CardCondition.READY).count() == 24
    assert Host.objects.exclude(host_uuid__in=[h.host_uuid for h in hosts]).count() == 0
    assert connect("simulated:///sim3").domains() == {}


def test_host_that_is_enrolled_already_is_left_as_it_is(lab: Path) -> None:
    list(simulate(FleetOrder(1, Board(1, 1)), lab))
    domain = a_domain(host_at(lab, "simulated:///sim1"))

    (added,) = simulate(FleetOrder(2, Board(1, 1)), lab)

    assert added.name == "sim2"
    assert list(host_at(lab, "simulated:///sim1").domains()) == [domain]


def test_events_are_listened_to_on_real_hosts_alone(lab: Path) -> None:
    real = make_host()
    list(simulate(FleetOrder(1, Board(1, 1)), lab))

    assert listened_hosts() == {real.pk: real.libvirt_uri}


def test_uri_of_a_simulated_host_is_refused_outside_a_lab(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schemes, "_openers", {})

    assert "is no libvirt address" in problem_of("simulated:///sim1")
    with pytest.raises(HostUnreachable):
        open_own("simulated:///sim1").domains()


def test_production_check_refuses_simulated_hosts(settings: object) -> None:
    settings.SIMULATED_HOSTS = "/tmp/hosts"  # type: ignore[attr-defined]  # noqa: S108
    assert [e.id for e in hosts_are_real()] == ["gpucloud.E001"]
    assert "gpucloud.E001" in [
        e.id for e in run_checks(tags=["security"], include_deployment_checks=True)
    ]

    settings.SIMULATED_HOSTS = ""  # type: ignore[attr-defined]
    assert hosts_are_real() == []


def test_recorded_host_and_its_copy_are_the_same_hardware(store: HostStore) -> None:
    host = SharedHypervisor(store)
    made = parse_host(host.capabilities(), host.pci_devices())
    real = parse_host(recorded("capabilities-2x2.xml"), host.pci_devices())

    assert (made.domain_type, made.has_iommu) == (real.domain_type, real.has_iommu)
    assert made.host_uuid != real.host_uuid
