"""A flag is killed amid creates: real web and worker processes, and many clients at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from flags import changes
from flags.changes import Why
from flags.models import FlagChange
from instances.choices import ENDED_JOB_STATES
from instances.models import Instance, Job, RefusedDemand
from inventory.models import CardClaim, Host, NodeClaim
from tests.api.builders import ORDER
from tests.builders import (
    GPU_FLAG,
    make_account,
    make_flag,
    make_image,
    make_plan,
    make_token,
)
from tests.clusters import (
    cluster,
    environment,
    eventually,
    make_shared_host,
    web,
)
from tests.simulated_hosts import HostStore, SharedHypervisor
from tests.simulated_hosts.board import Board
from tests.simulated_hosts.fleet import FleetOrder, simulate

pytestmark = pytest.mark.django_db(transaction=True)
CLIENTS, CREATES = 8, 100
# Cards for all of them: nothing but the kill refuses.
HOSTS, BOARD = 5, Board(2, 10)


def running_guests(folder: Path) -> set[str]:
    """Return the UUIDs of the instances that run; guests of ours check the other cards."""
    names = Host.objects.values_list("name", flat=True)
    seen = [SharedHypervisor(HostStore(folder, name)).domains() for name in names]
    on = {uuid for each in seen for uuid in each if each[uuid] == "running"}
    return on & {str(uuid) for uuid in Instance.objects.values_list("uuid", flat=True)}


class Clients:
    """Make CREATES creates over several servers; half of them wait for `begun`."""

    def __init__(self, addresses: list[str], token: str) -> None:
        self.begun = threading.Event()
        self._addresses, self._headers = addresses, {"Authorization": f"Bearer {token}"}

    def create(self, number: int) -> requests.Response:
        if number >= CREATES // 2:
            self.begun.wait()
        address = self._addresses[number % len(self._addresses)]
        return requests.post(
            f"{address}/v4/linode/instances",
            json=ORDER,
            headers=self._headers,
            timeout=60,
        )


def test_no_claim_is_made_after_a_kill_and_guests_that_run_live(  # noqa: PLR0915
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "hosts"
    make_shared_host(folder, monkeypatch, BOARD)
    list(simulate(FleetOrder(HOSTS, BOARD), folder))
    make_plan(ORDER["type"], flag_name=GPU_FLAG)
    make_image()
    flag, account = make_flag(everyone=True), make_account()
    env = environment(folder, GPUCLOUD_API_RATE_LIMIT="0")
    with ExitStack() as processes:
        addresses = [
            processes.enter_context(web(env, tmp_path / f"web{number}.log"))
            for number in range(2)
        ]
        for number in range(2):
            log = tmp_path / f"workers{number}.log"
            processes.enter_context(cluster(env, log))
        clients = Clients(addresses, make_token(account))
        pool = processes.enter_context(ThreadPoolExecutor(CLIENTS))
        processes.callback(clients.begun.set)
        sent = [pool.submit(clients.create, number) for number in range(CREATES)]
        eventually(lambda: bool(running_guests(folder)), "a guest runs")
        before = running_guests(folder)

        clients.begun.set()
        killed = changes.kill(flag.pk, Why("user:ann", "the cards burn"))

        claims = CardClaim.objects.count()
        answers = [future.result() for future in sent]
        open_jobs = Job.objects.filter(card=None).exclude(state__in=ENDED_JOB_STATES)
        eventually(lambda: not open_jobs.exists(), "all launches have ended")
        made = [answer for answer in answers if answer.status_code == 200]
        refused = {answer.text for answer in answers if answer.status_code != 200}

        # Not one was committed after the kill was, nor has a time after it.
        assert CardClaim.objects.count() == claims == len(made)
        for model in (CardClaim, NodeClaim):
            assert not model.objects.filter(claimed_at__gte=killed.at).exists()
        assert refused == {
            '{"errors":[{"reason":"A valid plan type by that ID was not found",'
            '"field":"type"}]}'
        }
        # What ran goes on; what had not begun to run holds nothing, and is told why.
        guests = running_guests(folder)
        assert before <= guests
        ready = Instance.objects.exclude(phase="failed")
        assert {str(instance.uuid) for instance in ready} == guests
        held = CardClaim.objects.filter(released_at=None)
        assert {str(uuid) for uuid in held.values_list("consumer", flat=True)} == guests
        failed = Job.objects.filter(state="failed")
        assert {job.public_message for job in failed} <= {"This plan is not available."}
        # All that the kill refused is counted, once.
        counted = RefusedDemand.objects.filter(reason="killed", flag_name=GPU_FLAG)
        assert counted.filter(job=None).count() == CREATES - len(made)
        assert set(counted.exclude(job=None).values_list("job", flat=True)) == {
            job.pk for job in failed
        }
        # Taken back, the next is launched; and who did it when is kept.
        changes.take_back(flag.pk, Why("user:bob", "it was the fan"))
        assert clients.create(0).status_code == 200
        told = FlagChange.objects.order_by("pk").values_list("kind", "by", "reason")
        assert list(told) == [
            ("killed", "user:ann", "the cards burn"),
            ("taken_back", "user:bob", "it was the fan"),
        ]
