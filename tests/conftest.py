"""What every test shares: recorded documents, a simulated host, no pause between tries."""

import gc
from pathlib import Path

import hypothesis
import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.test import TransactionTestCase
from lxml import etree

from instances.jobs import runner
from instances.jobs.steps import ObserveRunning
from tests.emptying import empty_tables
from tests.simulated import SimulatedHypervisor
from tests.simulated_hosts import HostStore, SharedHypervisor
from tests.simulated_hosts.board import Board

pytest_plugins = ["tests.gpuhost.fixtures"]

# A person is made in hundreds of tests: the site's own hash, at the least that it may cost.
Argon2PasswordHasher.time_cost = 1
Argon2PasswordHasher.memory_cost = 8
Argon2PasswordHasher.parallelism = 1

TransactionTestCase._fixture_teardown = lambda case: empty_tables()


def pytest_collection_finish() -> None:
    """Look for garbage only among what tests make, not among all that was imported."""
    gc.collect()
    gc.freeze()


# The suite's run is the same every time; `--hypothesis-profile=long` looks for news.
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    max_examples=12,
    stateful_step_count=25,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.register_profile(
    "long",
    hypothesis.settings.get_profile("suite"),
    derandomize=False,
    max_examples=1000,
    stateful_step_count=50,
)
hypothesis.settings.load_profile("suite")
DATA = Path(__file__).parent / "data"


def recorded(name: str) -> str:
    return (DATA / name).read_text()


def recorded_devices(name: str) -> tuple[str, ...]:
    root = etree.fromstring(recorded(name).encode())
    return tuple(etree.tostring(device, encoding="unicode") for device in root)


@pytest.fixture
def simulated_host() -> SimulatedHypervisor:
    """Give a host that reports what the virtual GPU host (2x2, RTX 6000) reported."""
    return SimulatedHypervisor(
        recorded("capabilities-2x2.xml"), recorded_devices("pci-2x2-rtx6000.xml")
    )


@pytest.fixture
def shared_host(tmp_path: Path) -> SharedHypervisor:
    """Give a host that other processes can reach too."""
    store = HostStore(tmp_path, "shared")
    store.create(Board(2, 2))
    return SharedHypervisor(store)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once, and believe at once that a guest runs."""
    monkeypatch.setattr(runner, "PATIENCE_S", (0.0,))
    monkeypatch.setattr(ObserveRunning, "settle_s", 0.0)
