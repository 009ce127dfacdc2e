"""Pytest fixtures that hand out virtual GPU hosts (`pytest_plugins` or -p).

The hosts are named test-gpuhost..., so they never are the one of `make run`. Sessions
that run at the same time, pytest-xdist's workers too, never share one.
"""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.gpuhost.host import HostFactory, VirtualGpuHost
from tests.gpuhost.machine import DEFAULT_BOARD, DEFAULT_CARD
from tests.gpuhost.paths import default_run_dir


@pytest.fixture(scope="session")
def virtual_host_factory() -> Iterator[HostFactory]:
    """Give `factory(name, board="2x2", card="rtx6000")`: a clean host, running.

    Asking for the same name again gives that host as it is; its real name is `name`,
    or `name-2` and so on while another session has it. All are stopped at the end of
    the session. Cost of each: a second, or half a minute when no state is saved.
    """
    hosts: dict[str, VirtualGpuHost] = {}

    with ExitStack() as claims:

        def factory(
            name: str, board: str = DEFAULT_BOARD, card: str = DEFAULT_CARD
        ) -> VirtualGpuHost:
            if name not in hosts:
                host = VirtualGpuHost(_claim(name, claims), board, card)
                claims.callback(host.stop)
                host.restore()
                hosts[name] = host
            return hosts[name]

        yield factory


@pytest.fixture(scope="session")
def virtual_host(virtual_host_factory: HostFactory) -> VirtualGpuHost:
    """Give the session's host (2 nodes x 2 Quadro RTX 6000), as the last test left it."""
    return virtual_host_factory("test-gpuhost1")


@pytest.fixture
def clean_virtual_host(virtual_host: VirtualGpuHost) -> VirtualGpuHost:
    """Give the session's host as if just booted; open connections to it are gone."""
    virtual_host.restore()
    return virtual_host


def _claim(name: str, claims: ExitStack) -> str:
    """Return the first free name of name, name-2, ...; free again when `claims` end.

    A restore would otherwise pull the host from under another session. A name of its
    own costs the second session one boot, and then has its own saved state.
    """
    number, candidate = 1, name
    while True:
        path = default_run_dir(candidate).with_name(f"{candidate}.claim")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("w")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            number += 1
            candidate = f"{name}-{number}"
        else:
            claims.callback(handle.close)
            return candidate
