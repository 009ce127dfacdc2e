"""Clients of the drill: they read, launch and delete without a pause, and count failures."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from deploy.local.problems import LocalStackError

ENDED_S = 180.0
TIMEOUT_S = 120.0
READS = (
    "/v4/linode/types",
    "/v4/regions",
    "/v4/linode/instances",
    "/v4/account/events",
    "/v4/gpucloud/inventory",
)
ORDER = {
    "type": "lab-gpu-rtx6000-1",
    "region": "us-east",
    "image": "gpucloud/probe",
}


class NeverHappened(LocalStackError):
    """An instance did not come to the state that was asked for."""

    def __init__(self, wanted: str) -> None:
        super().__init__(f"an instance was never {wanted}", "look at the workers' logs")


@dataclass
class Told:
    """What the clients saw. durations_s: of each answer, in no order."""

    counts: Counter[str] = field(default_factory=Counter)
    durations_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def fail(self, what: str) -> None:
        with self._lock:
            self.failures.append(f"{time.strftime('%H:%M:%S')} {what}")

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.durations_s)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Caller:
    """One client with a connection that it keeps. Nothing is tried twice."""

    def __init__(self, url: str, token: str, certificate: Path, told: Told) -> None:
        self._url, self._told = url, told
        self._session = requests.Session()
        # Not the proxy of the environment.
        self._session.trust_env = False
        self._session.verify = str(certificate)
        self._session.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any] | None:
        """Return the answer, None for 404. Anything else is told as a failure, and raised."""
        began = time.monotonic()
        try:
            answer = self._session.request(
                method, self._url + path, json=body, timeout=TIMEOUT_S
            )
        except requests.RequestException as error:
            self._told.fail(f"{method} {path}: {error!r}")
            raise
        self._told.durations_s.append(time.monotonic() - began)
        self._told.count("requests")
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            self._told.fail(
                f"{method} {path}: {answer.status_code} {answer.text[:300]}"
            )
            answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def read(self) -> None:
        for path in READS:
            self.ask("GET", path)

    def launch(self) -> int:
        made = self.ask("POST", "/v4/linode/instances", ORDER)
        assert made is not None  # noqa: S101 -- a collection is never 404
        self._told.count("launches")
        return int(made["id"])

    def status(self, instance: int) -> str:
        found = self.ask("GET", f"/v4/linode/instances/{instance}")
        return "gone" if found is None else str(found["status"])

    def wait(self, instance: int, wanted: str, limit_s: float = ENDED_S) -> None:
        deadline = time.monotonic() + limit_s
        while (seen := self.status(instance)) != wanted:
            if time.monotonic() > deadline or (seen == "gone" != wanted):
                self._told.fail(f"instance {instance} is {seen}, never {wanted}")
                raise NeverHappened(wanted)
            time.sleep(0.25)

    def delete(self, instance: int) -> None:
        self.ask("DELETE", f"/v4/linode/instances/{instance}")
        self.wait(instance, "gone")
        self._told.count("deletes")

    def live(self) -> None:
        """One life: launch, off, on, delete."""
        instance = self.launch()
        self.wait(instance, "running")
        self.ask("POST", f"/v4/linode/instances/{instance}/shutdown")
        self.wait(instance, "offline")
        self.ask("POST", f"/v4/linode/instances/{instance}/boot")
        self.wait(instance, "running")
        self.delete(instance)
        self._told.count("lives")


def _again(work: Callable[[], None], stopped: threading.Event, told: Told) -> None:
    while not stopped.is_set():
        try:
            work()
        except (requests.RequestException, NeverHappened):
            # It is told already.
            time.sleep(0.5)
        except Exception as error:  # noqa: BLE001 -- a client that dies is no client
            told.fail(f"a client: {error!r}")
            time.sleep(0.5)


@contextmanager
def under_load(
    make: Callable[[Told], Caller], *, readers: int, livers: int
) -> Iterator[Told]:
    """Have clients at work within; they end what they have begun."""
    told, stopped = Told(), threading.Event()
    callers = [make(told) for _ in range(readers + livers)]
    works = [caller.read for caller in callers[:readers]]
    works += [caller.live for caller in callers[readers:]]
    threads = [
        threading.Thread(target=_again, args=(work, stopped, told)) for work in works
    ]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
