"""What every test shares: recorded documents, a simulated host, no pause between tries."""

from pathlib import Path

import pytest
from lxml import etree

from instances.jobs import runner
from instances.jobs.steps import ObserveRunning
from tests.simulated import SimulatedHypervisor

pytest_plugins = ["tests.gpuhost.fixtures"]

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


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once, and believe at once that a guest runs."""
    monkeypatch.setattr(runner, "PATIENCE_S", (0.0,))
    monkeypatch.setattr(ObserveRunning, "settle_s", 0.0)
