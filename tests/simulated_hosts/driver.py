"""The port for simulated:///NAME. One implementation: tests.simulated's, out of a store."""

import re
import time
from functools import partial
from pathlib import Path
from typing import Any

from inventory.exceptions import HostUnreachable, HypervisorError
from inventory.hypervisor import supervised
from inventory.hypervisor.port import Hypervisor
from inventory.hypervisor.schemes import add_scheme
from tests.simulated_hosts.store import HostStore

SCHEME = "simulated"
VERBS = frozenset(name for name in vars(Hypervisor) if not name.startswith("_"))
_DEADLINES_S = {
    "domain_capabilities": supervised.CAPABILITIES_TIMEOUT_S,
    "start_domain": supervised.START_TIMEOUT_S,
    "destroy_domain": supervised.DESTROY_TIMEOUT_S,
    "define_filter": supervised.FILTER_TIMEOUT_S,
    "clone_volume": supervised.COPY_TIMEOUT_S,
    "wipe_volume": supervised.COPY_TIMEOUT_S,
}


class SharedHypervisor:
    """One host, for whatever process; it has every verb that the port has.

    A silent host counts as unreachable after as long as libvirt's driver grants the verb.
    """

    def __init__(self, store: HostStore) -> None:
        self.store = store

    def __getattr__(self, verb: str) -> Any:
        if verb not in VERBS:
            raise AttributeError(verb)
        return partial(self._call, verb)

    def _call(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        delay_s, fault = self.store.meet(verb)
        deadline_s = _DEADLINES_S.get(verb, supervised.CALL_TIMEOUT_S)
        time.sleep(min(delay_s, deadline_s))
        if fault is not None and not fault.has_effect:
            fault.strike(self.store.uri, verb, deadline_s)
        answer = self._do(verb, *args, **kwargs)
        if delay_s > deadline_s:
            raise HostUnreachable(f"{self.store.uri}: no answer to {verb} in time")
        if fault is not None and fault.has_effect:
            fault.strike(self.store.uri, verb, deadline_s)
        return answer

    def _do(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        with self.store.host() as host:
            try:
                return getattr(host, verb)(*args, **kwargs)
            except HypervisorError as error:
                # What it had done before it refused stays done.
                refusal = error
        raise refusal

    def close(self) -> None:
        """Nothing is held between two calls."""


def host_at(folder: Path, uri: str) -> SharedHypervisor:
    """Return a connection. Raises HostUnreachable if `uri` names no host of a folder."""
    found = re.fullmatch(rf"{SCHEME}:///([a-z0-9][a-z0-9.-]*)", uri)
    if found is None:
        raise HostUnreachable(f"{uri}: name a simulated host, such as {SCHEME}:///sim1")
    return SharedHypervisor(HostStore(folder, found[1]))


def answer_from(folder: Path) -> None:
    """Have the hosts of a folder answer in this process."""
    add_scheme(SCHEME, partial(host_at, folder))
