"""Pytest fixtures that hand out virtual GPU hosts (`pytest_plugins` or -p).

The hosts are named test-gpuhost..., so they never are the one of `make run`, and with
pytest-xdist every worker has its own.
"""

import os
from collections.abc import Iterator

import pytest

from tests.gpuhost.host import HostFactory, VirtualGpuHost
from tests.gpuhost.machine import DEFAULT_BOARD, DEFAULT_CARD


@pytest.fixture(scope="session")
def virtual_host_factory() -> Iterator[HostFactory]:
    """Give `factory(name, board="2x2", card="rtx6000")`: a clean host, running.

    Asking for the same name again gives that host as it is. All are stopped at the end
    of the session. Cost of each: a second, or half a minute when no state is saved.
    """
    hosts: dict[str, VirtualGpuHost] = {}
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")

    def factory(
        name: str, board: str = DEFAULT_BOARD, card: str = DEFAULT_CARD
    ) -> VirtualGpuHost:
        full_name = "-".join(filter(None, (name, worker)))
        if full_name not in hosts:
            host = VirtualGpuHost(full_name, board, card)
            hosts[full_name] = host  # first, so that a half-started one is ended too
            host.restore()
        return hosts[full_name]

    yield factory
    for host in hosts.values():
        host.stop()


@pytest.fixture(scope="session")
def virtual_host(virtual_host_factory: HostFactory) -> VirtualGpuHost:
    """Give the session's host (2 nodes x 2 Quadro RTX 6000), as the last test left it."""
    return virtual_host_factory("test-gpuhost1")


@pytest.fixture
def clean_virtual_host(virtual_host: VirtualGpuHost) -> VirtualGpuHost:
    """Give the session's host as if just booted; open connections to it are gone."""
    virtual_host.restore()
    return virtual_host
