"""`make soak CYCLES=100`: verbs and faults at random; in the end nothing is left over.

A cycle is one verb on one instance, waited for; one in FAULT_EVERY has a fault in its
middle. GPUCLOUD_SOAK_CYCLES and GPUCLOUD_SOAK_SEED say how many and which.
"""

import logging
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from deploy.local.probes import wait_for_web
from inventory.hypervisor.supervised import SupervisedHypervisor
from tests.e2e.conftest import Stack
from tests.e2e.observing import eventually, rows
from tests.e2e.test_launch_on_the_virtual_host import Customer
from tests.gpuhost import faults

logger = logging.getLogger(__name__)
pytestmark = [pytest.mark.e2e, pytest.mark.gpuhost]
CYCLES = int(os.environ.get("GPUCLOUD_SOAK_CYCLES", "0"))
SEED = int(os.environ.get("GPUCLOUD_SOAK_SEED", "1"))
FAULT_EVERY = 8
CARDS = 4
# A killed worker's lease has to end, and the reaper comes once a minute.
SETTLED_S = 900
INSTANCES = "/v4/linode/instances"
VERBS = {
    "running": ("reboot", "shutdown", "resize", "delete"),
    "offline": ("boot", "resize", "delete"),
}
# What must be nothing once all is deleted, by name.
LEFT_OVER = {
    "card claims": "CardClaim.objects.filter(released_at=None).count()",
    "node claims": "NodeClaim.objects.filter(released_at=None).count()",
    "address claims": "AddressClaim.objects.filter(released_at=None).count()",
    "seed settings": "SeedSettings.objects.count()",
    "discrepancies": "Discrepancy.objects.filter(resolved_at=None).count()",
    "cards that are not ready": (
        "Card.objects.exclude(condition__in=['ready', 'retired']).count()"
    ),
    "open jobs": "Job.objects.exclude(state__in=['succeeded', 'failed']).count()",
}


class Soak:
    """A customer who never rests, and the faults that meet them."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.customer = Customer(stack, "employee")
        self.random = random.Random(SEED)  # noqa: S311 -- no secret
        self.done: Counter[str] = Counter()

    def instances(self) -> list[dict[str, Any]]:
        _, listed = self.customer.call("GET", INSTANCES)
        return list(listed["data"])

    def cycle(self, fault: Callable[[Stack], None] | None) -> None:
        """Do a verb that the present state allows, and wait until it has come to rest."""
        choices = [
            (verb, instance)
            for instance in self.instances()
            for verb in VERBS[instance["status"]]
        ]
        cards = rows(self.stack, "CardClaim.objects.filter(released_at=None).count()")
        free = CARDS - int(cards)
        if free:
            choices += [("create", {"free": free})] * 3
        self._do(*self.random.choice(choices))
        if fault is not None:
            self.done[fault.__name__] += 1
            time.sleep(self.random.uniform(0, 3))
            fault(self.stack)
        eventually(self._rests, "a machine or job that comes to no rest", SETTLED_S)

    def _do(self, verb: str, instance: dict[str, Any]) -> None:
        path = f"{INSTANCES}/{instance.get('id')}"
        if verb in ("create", "resize"):
            # Else most are refused: what the last cycle let go of is still being cleaned.
            self.stack.wait_for_cards()
        if verb == "create":
            cards = self.random.randint(1, instance["free"])
            body = {"region": "us-east", "image": "gpucloud/probe"}
            answer = self.customer.call("POST", INSTANCES, _plan(cards) | body)
        elif verb == "resize":
            body = _plan(self.random.randint(1, CARDS))
            answer = self.customer.call("POST", f"{path}/resize", body)
        elif verb == "delete":
            answer = self.customer.call("DELETE", path)
        else:
            answer = self.customer.call("POST", f"{path}/{verb}", {})
        # No capacity, the same plan: an answer, and no fault of ours.
        assert answer[0] in (200, 400), (verb, instance, answer)
        self.done[verb if answer[0] == 200 else f"{verb} refused"] += 1

    def _rests(self) -> bool:
        jobs = rows(
            self.stack,
            "Job.objects.filter(instance__isnull=False)"
            ".exclude(state__in=['succeeded', 'failed']).count()",
        )
        return not jobs and all(i["status"] in VERBS for i in self.instances())


def _plan(cards: int) -> dict[str, str]:
    return {"type": f"lab-gpu-rtx6000-{cards}"}


def worker_killed(stack: Stack) -> None:
    kill(stack, stack.django.worker().name)
    stack.start_worker()


def web_killed(stack: Stack) -> None:
    web = stack.django.web(stack.port)
    kill(stack, web.name)
    stack.services.ensure(web)
    wait_for_web(stack.services, stack.django, stack.port)


def kill(stack: Stack, service: str) -> None:
    """End a service and all of its children at once, as a crash of its machine would."""
    first = stack.services.records()[service].process.pid
    for pid in family(first):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # Ours, and a zombie until somebody asks.
    with suppress(ChildProcessError):
        os.waitpid(first, 0)


def libvirtd_killed(stack: Stack) -> None:
    faults.kill_libvirtd(stack.gpuhost)


def libvirtd_frozen(stack: Stack) -> None:
    faults.stop_libvirtd(stack.gpuhost)
    try:
        time.sleep(20)
    finally:
        faults.continue_libvirtd(stack.gpuhost)


FAULTS = (worker_killed, libvirtd_killed, web_killed, libvirtd_frozen)


def family(pid: int) -> set[int]:
    """Return a process and all that descend from it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                parents[int(entry.name)] = int(stat[1])
    found, more = set(), {pid}
    while more:
        found |= more
        more = {child for child, parent in parents.items() if parent in found} - found
    return found


def memory_mib(stack: Stack) -> dict[str, float]:
    """Return the memory that is a service's own (Pss_Anon), with its children."""
    return {
        name: round(sum(map(_own_mib, family(record.process.pid))), 1)
        for name, record in stack.services.records().items()
    }


def _own_mib(pid: int) -> float:
    with suppress(OSError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        if found := re.search(r"Pss_Anon:\s+(\d+) kB", text):
            return int(found.group(1)) / 1024
    return 0.0


def left_over(stack: Stack) -> dict[str, Any]:
    """Return what is there although nothing should be, by name."""
    found = {name: rows(stack, query) for name, query in LEFT_OVER.items()}
    with closing(SupervisedHypervisor(stack.hosts[0].libvirt_uri)) as hypervisor:
        found["domains"] = list(hypervisor.domains())
        found["disks"] = hypervisor.volume_names("gpucloud-disks")
    return {name: what for name, what in found.items() if what}


@pytest.fixture
def hasty(stack: Stack) -> Iterator[None]:
    """Unplug guests soon: these heed no ACPI."""
    with stack.worker_with(GPUCLOUD_SHUTDOWN_GRACE_S="3"):
        yield


@pytest.mark.usefixtures("hasty")
def test_nothing_is_left_over(stack: Stack) -> None:
    soak = Soak(stack)
    memory = []
    for number in range(CYCLES):
        if number in (CYCLES // 4, CYCLES // 2):
            memory.append(memory_mib(stack))
        round_, place = divmod(number, FAULT_EVERY)
        last = place == FAULT_EVERY - 1
        soak.cycle(FAULTS[round_ % len(FAULTS)] if last else None)
        logger.info("cycle %d: %s", number + 1, dict(soak.done))
    for instance in soak.instances():
        soak.customer.call("DELETE", f"{INSTANCES}/{instance['id']}")
        soak.customer.wait_gone(instance["id"])
    stack.wait_for_cards()
    stack.manage("reconcile")
    memory.append(memory_mib(stack))
    logger.info("MiB after a quarter, a half, and in the end: %s", memory)

    assert left_over(stack) == {}
    stack.check("verify_ledger")
    stack.check("verify_usage")
