"""Puts the points around the steps and the calls of a worker."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.apps import AppConfig

BEFORE, IN, AFTER = "before", "in", "after"
HOLD, GATE = "hold", "gate"
# A gate whose test has died opens by itself.
_LONGEST_S = 300
# Calls of the port that leave the host as it was.
_LOOKS = (
    *("capabilities", "pci_devices", "domains", "domain_documents", "domain_state"),
    *("domain_xml", "volume", "volume_names", "networks", "pools", "versions", "clock"),
    *("cpu_seconds", "free_pages", "domain_capabilities", "read_volume_tail"),
    "filter_names",
)


class KillPoints(AppConfig):
    name = "tests.kill_points"

    def ready(self) -> None:
        from instances.jobs import runner
        from inventory.hypervisor.supervised import SupervisedHypervisor
        from tests.simulated_hosts import SharedHypervisor

        folder = Path(os.environ["GPUCLOUD_TEST_KILLS"])
        attempt = runner._Worker._attempt
        now: list[str] = []

        def attempt_or_meet(self: Any, step: Any, act: Callable[[Any], None]) -> Any:
            now[:] = [f"{who}-{step.name}" for who in (self.job.pk, self.job.kind)]
            _meet(folder, now, BEFORE)
            outcome = attempt(self, step, act)
            _meet(folder, now, AFTER)
            now.clear()
            return outcome

        def meeting(call: Callable[..., Any]) -> Callable[..., Any]:
            def call_or_meet(self: Any, verb: str, *args: Any, **kwargs: Any) -> Any:
                answer = call(self, verb, *args, **kwargs)
                if verb not in _LOOKS and now:
                    (folder / f"changed-{now[0]}").touch()
                    _meet(folder, now, IN)
                return answer

            return call_or_meet

        runner._Worker._attempt = attempt_or_meet  # type: ignore[method-assign]
        for driver in (SharedHypervisor, SupervisedHypervisor):
            driver._call = meeting(driver._call)  # type: ignore[method-assign]


def _meet(folder: Path, now: list[str], moment: str) -> None:
    for name in now:
        path = folder / f"{name}-{moment}"
        try:
            what = path.read_text()
            path.unlink()
        except FileNotFoundError:
            continue
        _do(what, folder, path)


def _do(what: str, folder: Path, path: Path) -> None:
    if what != HOLD:
        os.kill(os.getpid(), signal.SIGKILL)
    _wait(folder / GATE, path.with_name(f"{path.name}-held"))


def _wait(gate: Path, held: Path) -> None:
    if not gate.exists():
        return
    held.touch()
    deadline = time.monotonic() + _LONGEST_S
    while gate.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    held.unlink()
