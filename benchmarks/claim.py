"""Claim and release over HTTP, ours beside OpenStack Placement, interleaved block by block.

    python -m venv PEER && PEER/bin/pip install openstack-placement==16.0.0 gunicorn \
        psycopg2-binary
    python -m benchmarks.claim --peer PEER

Ours: a reservation made and deleted, with token, flag and quota. CPU seconds are those of
gunicorn and of PostgreSQL, from /proc.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path

import psycopg

from benchmarks import placement_peer, servers

PEER_HOSTS_MAX = 1000
ROUNDS = 3
# Cycles of one client in one block, by number of hosts.
OURS, PEERS = 150, {25: 20, 1000: 5}


@dataclass(slots=True)
class Side:
    """cycle: one claim and release on a connection, with a client's number."""

    name: str
    port: int
    pid: int
    cycle: Callable[[HTTPConnection, int], object]
    cycles: int
    cpu_app: list[float] = field(default_factory=list)
    cpu_database: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def block(self, clients: int) -> None:
        """Run one block and keep its figures, per cycle."""
        each = max(2, self.cycles // clients)
        app, database = servers.cpu_seconds(self.pid), servers.cpu_seconds(_POSTMASTER)
        began = time.perf_counter()
        failures: list[BaseException] = []
        threads = [
            threading.Thread(target=self._client, args=(number, each, failures))
            for number in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        done = each * clients
        self.rates.append(done / (time.perf_counter() - began))
        self.cpu_app.append((servers.cpu_seconds(self.pid) - app) / done)
        spent = servers.cpu_seconds(_POSTMASTER) - database
        self.cpu_database.append(spent / done)

    def _client(self, number: int, cycles: int, failures: list[BaseException]) -> None:
        try:
            http = HTTPConnection("127.0.0.1", self.port)
            for _ in range(cycles):
                began = time.perf_counter()
                self.cycle(http, number)
                self.seconds.append(time.perf_counter() - began)
        except Exception as error:  # noqa: BLE001 -- raised in the main thread
            failures.append(error)

    def clear(self) -> None:
        for figures in (self.cpu_app, self.cpu_database, self.seconds, self.rates):
            figures.clear()


_POSTMASTER = servers.postmaster()


def ours(url: str, hosts: int, clients: int) -> list[str]:
    """Fill the database if it is empty; return the tokens of new customers."""
    os.environ["DATABASE_URL"] = url
    command = (
        "import django; django.setup(); from benchmarks import claim_fleet; "
        f"claim_fleet.prepare({hosts}, {clients})"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.split()


def reservation_cycle(tokens: list[str]) -> Callable[[HTTPConnection, int], None]:
    def call(
        http: HTTPConnection, number: int, method: str, path: str, body: str
    ) -> dict[str, int]:
        headers = {
            "Authorization": f"Bearer {tokens[number]}",
            "Content-Type": "application/json",
        }
        http.request(method, f"/v4/gpucloud/reservations{path}", body, headers)
        answer = http.getresponse()
        text = answer.read()
        if answer.status != 200:
            # A refusal is a false "sold out": half of the fleet is free.
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        found: dict[str, int] = json.loads(text)
        return found

    def cycle(http: HTTPConnection, number: int) -> None:
        until = datetime.now(UTC) + timedelta(hours=1)
        body = {
            "type": "bench-1",
            "region": "bench",
            "expires": f"{until:%Y-%m-%dT%H:%M:%S}",
        }
        made = call(http, number, "POST", "", json.dumps(body))
        call(http, number, "DELETE", f"/{made['id']}", "")

    return cycle


def compare(hosts: int, peer: Path | None) -> None:
    """Print one line per side and number of clients."""
    url = servers.database_url(f"bench_claim_{hosts}")
    tokens = ours(url, hosts, 8)
    with ExitStack() as stack:
        own = servers.serving(
            ".venv/bin/gunicorn",
            "gpucloud_site.wsgi:application",
            # Counted as for anybody, and never reached.
            {"DATABASE_URL": url, "GPUCLOUD_API_RATE_LIMIT": str(10**9)},
        )
        sides = [
            Side("gpucloud", *stack.enter_context(own), reservation_cycle(tokens), OURS)
        ]
        if peer is not None and hosts <= PEER_HOSTS_MAX:
            other = stack.enter_context(placement_peer.placement(peer, hosts))
            cycles = PEERS.get(hosts, 5)
            sides.append(
                Side(
                    "placement",
                    *other,
                    lambda http, _: placement_peer.cycle(http),
                    cycles,
                )
            )
        for clients in (1, 8):
            for side in sides:
                side.block(clients)
                side.clear()
            for _ in range(ROUNDS):
                for side in sides:
                    side.block(clients)
            for side in sides:
                show(hosts, clients, side)
            for side in sides:
                side.clear()
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
        print(f"deadlocks in {hosts} hosts' database: {row[0] if row else '?'}")


def show(hosts: int, clients: int, side: Side) -> None:
    app, database = (
        statistics.median(s) * 1e3 for s in (side.cpu_app, side.cpu_database)
    )
    print(
        f"{hosts:6} hosts, {clients} clients, {side.name:9}: CPU {app + database:7.2f} ms "
        f"(application {app:.2f}, database {database:.2f}), p50 "
        f"{statistics.median(side.seconds) * 1e3:.2f} ms, "
        f"{statistics.median(side.rates):.1f} cycles/s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Claims over HTTP, ours and Placement's."
    )
    parser.add_argument("--peer", type=Path, help="venv with openstack-placement")
    parser.add_argument("--hosts", type=int, nargs="*", default=[25, 1000, 10_000])
    arguments = parser.parse_args()
    for hosts in arguments.hosts:
        compare(hosts, arguments.peer)


if __name__ == "__main__":
    main()
