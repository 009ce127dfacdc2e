"""libvirtd dies, or freezes, or the network is lost, in the middle of four verbs at once.

Nobody helps: each verb is held between two calls to the host, then the fault strikes.
What it leaves unscrubbed would be checked in a later module's tests: it is of the last.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from inventory.hypervisor.supervised import SupervisedHypervisor
from tests.e2e.conftest import Stack
from tests.e2e.observing import eventually, open_kinds, rows
from tests.e2e.test_launch_on_the_virtual_host import Customer, employee
from tests.e2e.test_soak import INSTANCES, left_over
from tests.gpuhost import faults
from tests.gpuhost.host import VirtualGpuHost
from tests.kill_points.apps import GATE, HOLD, IN

__all__ = ["employee"]
pytestmark = [pytest.mark.e2e, pytest.mark.gpuhost]
IN_TIME_S = 300
OPEN = "Job.objects.filter(instance__isnull=False, finished_at=None)"


@dataclass(frozen=True)
class Fault:
    """heals: None if the host does so by itself. held: kind of job -> step it is held in."""

    strikes: Callable[[VirtualGpuHost], None]
    heals: Callable[[VirtualGpuHost], None] | None
    held: dict[str, str]


FAULTS = (
    Fault(
        faults.kill_libvirtd,
        None,
        {
            "launch": "define_domain",
            "shutdown": "shut_down",
            "rebuild": "stop_guest",
            "delete": "destroy_domain",
        },
    ),
    Fault(
        faults.stop_libvirtd,
        faults.continue_libvirtd,
        {
            "launch": "start_domain",
            "boot": "start_domain",
            "rebuild": "define_domain",
            "delete": "undefine_domain",
        },
    ),
    Fault(
        faults.cut_network,
        faults.restore_network,
        {
            "launch": "define_domain",
            "shutdown": "shut_down",
            "rebuild": "start_domain",
            "delete": "destroy_domain",
        },
    ),
)


@pytest.fixture
def points(stack: Stack, tmp_path: Path) -> Iterator[Path]:
    """Give the folder in which steps are named that are to be held."""
    with stack.worker_with(
        DJANGO_SETTINGS_MODULE="tests.kill_points.settings",
        GPUCLOUD_TEST_KILLS=str(tmp_path),
        # One for each verb, and for what else there is to do.
        GPUCLOUD_WORKERS="6",
        GPUCLOUD_SHUTDOWN_GRACE_S="3",
        GPUCLOUD_LAB_SKIPS_SANITISING="true",
    ):
        yield tmp_path


def order(customer: Customer, kind: str, linode: int) -> int:
    """Ask for a job of this kind; return the id of its instance."""
    if kind == "launch":
        return int(customer.create(1)["id"])
    path = f"{INSTANCES}/{linode}"
    if kind == "delete":
        status, answer = customer.call("DELETE", path)
    else:
        body = {"image": "gpucloud/probe"} if kind == "rebuild" else None
        status, answer = customer.call("POST", f"{path}/{kind}", body)
    assert status == 200, answer
    return linode


def test_faults_in_the_middle_of_verbs_leave_nothing_behind(
    stack: Stack, employee: Customer, points: Path
) -> None:
    power, rebuilt, deleted = (int(employee.create(1)["id"]) for _ in range(3))
    for linode in (power, rebuilt, deleted):
        employee.wait_for(linode, "running")
    for fault in FAULTS:
        stack.wait_for_cards()
        (points / GATE).touch()
        for kind, step in fault.held.items():
            (points / f"{kind}-{step}-{IN}").write_text(HOLD)
        mine = {"rebuild": rebuilt, "delete": deleted}
        asked = {
            kind: order(employee, kind, mine.get(kind, power)) for kind in fault.held
        }
        all_are_held(points, len(asked))
        first = rows(stack, f"min({OPEN}.values_list('pk', flat=True))")

        strike(stack, fault, points)

        eventually(lambda: not rows(stack, f"{OPEN}.count()"), "no end", IN_TIME_S)
        jobs = f"Job.objects.filter(instance__isnull=False, pk__gte={first})"
        told = rows(stack, f"dict({jobs}.values_list('kind', 'state'))")
        assert told == dict.fromkeys(fault.held, "succeeded")
        is_on = {power: "boot" in asked, rebuilt: True, asked["launch"]: True}
        host_and_rows_agree(stack, is_on)
        deleted = asked["launch"]

    for linode in (power, rebuilt, deleted):
        employee.call("DELETE", f"{INSTANCES}/{linode}")
        employee.wait_gone(linode)
    stack.wait_for_cards()
    stack.manage("reconcile")
    assert left_over(stack) == {}
    stack.check("verify_ledger")
    stack.check("verify_usage")


def all_are_held(points: Path, count: int) -> None:
    eventually(
        lambda: len(list(points.glob("*-held"))) == count,
        "not all are in the middle",
        IN_TIME_S,
    )


def strike(stack: Stack, fault: Fault, points: Path) -> None:
    """Have the held verbs go on with a fault; it is healed once no worker waits for it."""
    fault.strikes(stack.gpuhost)
    (points / GATE).unlink()
    if fault.heals is None:
        return
    try:
        eventually(
            lambda: not rows(stack, f"{OPEN}.filter(internal_detail='').count()"),
            "a worker is still held",
            IN_TIME_S,
        )
    finally:
        fault.heals(stack.gpuhost)


def host_and_rows_agree(stack: Stack, is_on: dict[int, bool]) -> None:
    """Assert one domain and set of claims for each instance, and no other."""
    ids = rows(
        stack,
        "list(Instance.objects.exclude(phase__in=['deleted', 'failed'])"
        ".values_list('pk', 'uuid'))",
    )
    with closing(SupervisedHypervisor(stack.hosts[0].libvirt_uri)) as hypervisor:
        domains = hypervisor.domains()
    assert {pk: domains.pop(uuid).is_on for pk, uuid in ids} == is_on
    assert domains == {}
    for claim in ("CardClaim", "NodeClaim"):
        consumers = (
            f"sorted(str(c.consumer) for c in {claim}.objects.filter(released_at=None))"
        )
        assert rows(stack, consumers) == sorted(uuid for _, uuid in ids)
    eventually(lambda: open_kinds(stack) == [], "discrepancies stay open")
