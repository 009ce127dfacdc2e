"""Puts the kill points around the steps and the calls of a worker."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.apps import AppConfig

BEFORE, IN, AFTER = "before", "in", "after"
# Calls of the port that leave the host as it was.
_LOOKS = (
    *("capabilities", "pci_devices", "domains", "domain_documents", "domain_state"),
    *("domain_xml", "volume", "volume_names", "networks", "pools", "versions", "clock"),
    *("cpu_seconds", "free_pages", "domain_capabilities", "read_volume_tail"),
)


class KillPoints(AppConfig):
    name = "tests.kill_points"

    def ready(self) -> None:
        from instances.jobs import runner
        from tests.simulated_hosts import SharedHypervisor

        folder = Path(os.environ["GPUCLOUD_TEST_KILLS"])
        attempt, call = runner._Worker._attempt, SharedHypervisor._call
        now: list[str] = []

        def attempt_or_die(self: Any, step: Any, act: Callable[[Any], None]) -> Any:
            now[:] = [f"{self.job.pk}-{step.name}"]
            _die_at(folder, now, BEFORE)
            outcome = attempt(self, step, act)
            _die_at(folder, now, AFTER)
            now.clear()
            return outcome

        def call_or_die(self: Any, verb: str, *args: Any, **kwargs: Any) -> Any:
            answer = call(self, verb, *args, **kwargs)
            if verb not in _LOOKS and now:
                (folder / f"changed-{now[0]}").touch()
                _die_at(folder, now, IN)
            return answer

        runner._Worker._attempt = attempt_or_die  # type: ignore[method-assign]
        SharedHypervisor._call = call_or_die  # type: ignore[method-assign]


def _die_at(folder: Path, now: list[str], moment: str) -> None:
    try:
        (folder / f"{now[0]}-{moment}").unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
