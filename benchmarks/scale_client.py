"""Eight customers over HTTP; each launches, looks and deletes, again and again.

    python -m benchmarks.scale_client PORT SECONDS

Standard input: {"tokens": [...], "body": of a create, "round": [paths to get]}. Prints what
each request took, as JSON; needs neither Django nor the database.
"""

import json
import sys
import threading
import time
from collections import defaultdict
from http.client import HTTPConnection
from typing import Any

_POLL_S, _PATIENCE_S = 0.25, 120.0


class Customer:
    """took_ms: by kind of request. failed: the answers that nobody wants."""

    def __init__(self, port: int, token: str, wanted: dict[str, Any]) -> None:
        self.http = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
        self.headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
        }
        self.wanted = wanted
        self.took_ms: dict[str, list[float]] = defaultdict(list)
        self.failed: list[str] = []

    def work_until(self, end: float) -> None:
        while time.monotonic() < end and not self.failed:
            for path in self.wanted["round"]:
                self.call(f"GET {path}", "GET", path)
            self.live()

    def live(self) -> None:
        """Launch one, wait until it runs, delete it, and wait until it is gone."""
        began = time.monotonic()
        path = "/linode/instances"
        made = self.call("create", "POST", path, self.wanted["body"])
        if "id" not in made:
            return
        path += f"/{made['id']}"
        self._until(path, lambda answer: answer.get("status") == "running")
        self.took_ms["create to running"].append(1000 * (time.monotonic() - began))
        began = time.monotonic()
        self.call("delete", "DELETE", path)
        self._until(path, lambda answer: "errors" in answer)
        self.took_ms["delete to gone"].append(1000 * (time.monotonic() - began))

    def _until(self, path: str, is_so: Any) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not is_so(self.call("look at one", "GET", path, also=(404,))):
            if time.monotonic() > deadline:
                self.failed.append(f"{path}: nothing came of it")
                return
            time.sleep(_POLL_S)

    def call(
        self, kind: str, method: str, path: str, body: Any = None, also: Any = ()
    ) -> Any:
        sent = None if body is None else json.dumps(body)
        began = time.monotonic()
        self.http.request(method, f"/v4{path}", sent, self.headers)
        answer = self.http.getresponse()
        text = answer.read()
        self.took_ms[kind].append(1000 * (time.monotonic() - began))
        if answer.status not in (200, *also):
            self.failed.append(f"{method} {path}: {answer.status} {text[:200]!r}")
        return json.loads(text)


def warm_up(customers: list[Customer]) -> None:
    """Ask each web process once: its first request loads all code."""
    for customer in customers:
        for path in customer.wanted["round"]:
            customer.call("", "GET", path)
        customer.took_ms.clear()


def main() -> None:
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    wanted = json.load(sys.stdin)
    customers = [Customer(port, token, wanted) for token in wanted["tokens"]]
    warm_up(customers)
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(target=customer.work_until, args=(end,))
        for customer in customers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_ms: dict[str, list[float]] = defaultdict(list)
    for customer in customers:
        for kind, each in customer.took_ms.items():
            took_ms[kind] += each
    failed = [text for customer in customers for text in customer.failed]
    print(json.dumps({"took_ms": took_ms, "failed": failed}))


if __name__ == "__main__":
    main()
