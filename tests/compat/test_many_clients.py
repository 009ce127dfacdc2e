"""Eight clients create and delete at once over HTTP: no answer is an error but capacity's."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.compat.conftest import START_S, Stack

pytestmark = pytest.mark.compat
CLIENTS = 8
LIVES = 2
# Nobody is served in turn: a client can see many others' lives go by before its own.
PATIENCE_S = 150 + 30 * START_S
# They want ten cards, and eight are in the region.
TYPES = ("lab-gpu-rtx6000-1",) * 3 + ("lab-gpu-rtx6000-2",)
REGION = "us-ord"


class Client:
    """Creates and deletes Linodes of one type, and waits where there is no capacity."""

    def __init__(self, stack: Stack, number: int) -> None:
        self.url = f"{stack.url}/v4/linode/instances"
        self.plan = TYPES[number % len(TYPES)]
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {stack.tokens['compat']}"

    def work(self) -> None:
        for turn in range(LIVES):
            self.live(is_awaited=bool(turn % 2))

    def live(self, *, is_awaited: bool) -> None:
        """Create and delete one; without waiting for it, while its create goes on."""
        path = f"/{self.until(self.create, bool)}"
        if is_awaited:
            self.until(lambda: self.get(path), lambda a: a.get("status") == "running")
        answer = self.session.delete(self.url + path, timeout=60)
        assert (answer.status_code, answer.json()) == (200, {})
        self.until(lambda: self.get(path), lambda a: "errors" in a)

    def create(self) -> int | None:
        """Return the id; None where there is no capacity."""
        body = {"type": self.plan, "region": REGION, "image": "gpucloud/probe"}
        answer = self.session.post(self.url, json=body, timeout=60)
        if answer.status_code == 200:
            return int(answer.json()["id"])
        reason = f"No GPU capacity is available in {REGION} for {self.plan} right now."
        assert answer.status_code == 400, answer.text
        assert answer.json()["errors"] == [{"reason": reason, "field": "region"}]
        return None

    def get(self, path: str) -> Any:
        answer = self.session.get(self.url + path, timeout=60)
        assert answer.status_code in (200, 404), answer.text
        return answer.json()

    def until(self, ask: Callable[[], Any], is_so: Callable[[Any], bool]) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while not is_so(answer := ask()):
            assert time.monotonic() < deadline, f"in vain: {answer}"
            time.sleep(0.1)
        return answer


def test_eight_clients_meet_no_error_but_capacity(stack: Stack) -> None:
    clients = [Client(stack, number) for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(Client.work, clients))
    assert clients[0].get("")["results"] == 0
    for client in clients:
        client.session.close()
