"""A flag is killed amid creates: real web and worker processes, and many clients at once."""

import threading
from collections.abc import Iterator
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
REFUSED = '{"errors":[{"reason":"A valid plan type by that ID was not found","field":"type"}]}'


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


@pytest.fixture
def folder(
    transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Give the folder of a fleet that has a card for each create, and a plan of one."""
    folder = tmp_path / "hosts"
    make_shared_host(folder, monkeypatch, BOARD)
    list(simulate(FleetOrder(HOSTS, BOARD), folder))
    make_plan(ORDER["type"], flag_name=GPU_FLAG)
    make_image()
    return folder


@pytest.fixture
def clients(folder: Path, tmp_path: Path) -> Iterator[Clients]:
    """Give clients of two web servers, with two clusters of workers behind them."""
    env = environment(folder, GPUCLOUD_API_RATE_LIMIT="0")
    with ExitStack() as processes:
        addresses = [
            processes.enter_context(web(env, tmp_path / f"web{number}.log"))
            for number in range(2)
        ]
        for number in range(2):
            log = tmp_path / f"workers{number}.log"
            processes.enter_context(cluster(env, log))
        made = Clients(addresses, make_token(make_account()))
        processes.callback(made.begun.set)
        yield made


def all_launches_have_ended() -> bool:
    launches = Job.objects.filter(card=None)
    return not launches.exclude(state__in=ENDED_JOB_STATES).exists()


def test_no_claim_is_made_after_a_kill_and_guests_that_run_live(
    folder: Path, clients: Clients
) -> None:
    flag = make_flag(everyone=True)
    with ThreadPoolExecutor(CLIENTS) as pool:
        sent = [pool.submit(clients.create, number) for number in range(CREATES)]
        eventually(lambda: bool(running_guests(folder)), "a guest runs")
        before = running_guests(folder)

        clients.begun.set()
        killed = changes.kill(flag.pk, Why("user:ann", "the cards burn"))

        claims = CardClaim.objects.count()
        answers = [future.result() for future in sent]
    eventually(all_launches_have_ended, "all launches have ended")

    # Not one was committed after the kill was, nor has a time after it.
    made = sum(answer.status_code == 200 for answer in answers)
    assert CardClaim.objects.count() == claims == made
    for model in (CardClaim, NodeClaim):
        assert not model.objects.filter(claimed_at__gte=killed.at).exists()
    assert {a.text for a in answers if a.status_code != 200} == {REFUSED}
    assert_what_ran_goes_on_and_nothing_else(running_guests(folder), before)
    assert_all_is_counted_once(refused=CREATES - made)
    # Taken back, the next is launched; and who did it when is kept.
    changes.take_back(flag.pk, Why("user:bob", "it was the fan"))
    assert clients.create(0).status_code == 200
    told = FlagChange.objects.order_by("pk").values_list("kind", "by", "reason")
    assert list(told) == [
        ("killed", "user:ann", "the cards burn"),
        ("taken_back", "user:bob", "it was the fan"),
    ]


def assert_what_ran_goes_on_and_nothing_else(
    guests: set[str], before: set[str]
) -> None:
    """before: the guests that ran before the kill."""
    assert before <= guests
    living = Instance.objects.exclude(phase="failed")
    assert {str(uuid) for uuid in living.values_list("uuid", flat=True)} == guests
    held = CardClaim.objects.filter(released_at=None)
    assert {str(uuid) for uuid in held.values_list("consumer", flat=True)} == guests


def assert_all_is_counted_once(refused: int) -> None:
    failed = Job.objects.filter(card=None, state="failed")
    assert {job.public_message for job in failed} <= {"This plan is not available."}
    counted = RefusedDemand.objects.filter(reason="killed", flag_name=GPU_FLAG)
    assert counted.filter(job=None).count() == refused
    of_jobs = counted.exclude(job=None).values_list("job", flat=True)
    assert set(of_jobs) == {job.pk for job in failed}
