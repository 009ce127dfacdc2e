"""OpenStack Placement with the same fleet: what shared/BENCH.md describes.

A root provider a host, two NUMA children with PCPU and MEMORY_MB, and below each its four
cards as one provider: the cheaper of Placement's two models.
"""

import json
import random
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import servers
from benchmarks.claim_work import (
    CARD_CORES,
    CARD_MIB,
    CARDS,
    CORES,
    MEMORY_MIB,
    used_cards,
)

VERSION = "16.0.0"
_CLAIM = {"PCPU": CARD_CORES, "MEMORY_MB": CARD_MIB, "PGPU": 1}
_CANDIDATES = (
    f"/allocation_candidates?resources_NUMA=PCPU:{CARD_CORES},MEMORY_MB:{CARD_MIB}"
    "&resources_GPU=PGPU:1&same_subtree=_NUMA,_GPU&group_policy=none&limit=10"
)
_HEADERS = {
    "X-Auth-Token": "admin",
    "OpenStack-API-Version": "placement 1.39",
    "Content-Type": "application/json",
}


@contextmanager
def placement(venv: Path, hosts: int) -> Iterator[tuple[int, int]]:
    """Serve a fleet of that many hosts, half used; give port and process id."""
    url = servers.database_url(f"bench_placement_{hosts}")
    folder = Path(".local") / f"placement-{hosts}"
    folder.mkdir(exist_ok=True)
    alchemy = url.replace("postgres://", "postgresql+psycopg2://")
    (folder / "placement.conf").write_text(
        "[api]\nauth_strategy = noauth2\n"
        f"[placement_database]\nconnection = {alchemy}\n"
    )
    subprocess.run(
        [
            venv / "bin/placement-manage",
            "--config-file",
            folder / "placement.conf",
            "db",
            "sync",
        ],
        check=True,
        capture_output=True,
    )
    env = {"OS_PLACEMENT_CONFIG_DIR": str(folder.absolute())}
    gunicorn = str(venv / "bin/gunicorn")
    with psycopg.connect(url, autocommit=True) as connection:
        if not connection.execute(
            "SELECT 1 FROM resource_providers LIMIT 1"
        ).fetchone():
            # Its first start writes the standard resource classes.
            with servers.serving(gunicorn, "placement.wsgi.api:application", env) as (
                port,
                _,
            ):
                _get(HTTPConnection("127.0.0.1", port), "/resource_classes")
            _fill(connection, hosts)
    with servers.serving(gunicorn, "placement.wsgi.api:application", env) as server:
        yield server


def _fill(connection: Any, hosts: int) -> None:
    classes = dict(
        connection.execute("SELECT name, id FROM resource_classes").fetchall()
    )
    connection.execute("INSERT INTO projects (external_id) VALUES ('bench')")
    connection.execute("INSERT INTO users (external_id) VALUES ('bench')")

    def provider(name: str, parent: int | None = None, root: int | None = None) -> int:
        (pk,) = connection.execute(
            "INSERT INTO resource_providers (uuid, name, generation, parent_provider_id,"
            " root_provider_id) VALUES (%s, %s, 0, %s, %s) RETURNING id",
            (str(uuid.uuid4()), name, parent, root),
        ).fetchone()
        if root is None:
            connection.execute(
                "UPDATE resource_providers SET root_provider_id = id WHERE id = %s",
                (pk,),
            )
        return int(pk)

    def inventory(pk: int, name: str, total: int) -> None:
        connection.execute(
            "INSERT INTO inventories (resource_provider_id, resource_class_id, total,"
            " reserved, min_unit, max_unit, step_size, allocation_ratio)"
            " VALUES (%s, %s, %s, 0, 1, %s, 1, 1.0)",
            (pk, classes[name], total, total),
        )

    with connection.transaction():
        for number, used in enumerate(used_cards(hosts)):
            root = provider(f"host{number}")
            inventory(root, "DISK_GB", 10_000)
            for node in (0, 1):
                numa = provider(f"host{number}-numa{node}", root, root)
                inventory(numa, "PCPU", CORES)
                inventory(numa, "MEMORY_MB", MEMORY_MIB)
                pool = provider(f"host{number}-gpu{node}", numa, root)
                inventory(pool, "PGPU", CARDS)
                for _ in range(used[node]):
                    _allocate(connection, classes, numa, pool)
    connection.execute("VACUUM ANALYZE")


def _allocate(connection: Any, classes: dict[str, int], numa: int, pool: int) -> None:
    consumer = str(uuid.uuid4())
    connection.execute(
        "INSERT INTO consumers (uuid, project_id, user_id, generation)"
        " VALUES (%s, 1, 1, 1)",
        (consumer,),
    )
    for name, count in _CLAIM.items():
        connection.execute(
            "INSERT INTO allocations (resource_provider_id, consumer_id,"
            " resource_class_id, used) VALUES (%s, %s, %s, %s)",
            (pool if name == "PGPU" else numa, consumer, classes[name], count),
        )


def _get(http: HTTPConnection, path: str) -> Any:
    http.request("GET", path, headers=_HEADERS)
    answer = http.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status} {body[:300]!r}")
    return json.loads(body)


def cycle(http: HTTPConnection) -> int:
    """Claim and release once; returns how often another client came first."""
    lost = 0
    consumer = str(uuid.uuid4())
    while True:
        found = _get(http, _CANDIDATES)["allocation_requests"]
        body = {
            "allocations": random.choice(found)["allocations"],
            "project_id": "bench",
            "user_id": "bench",
            "consumer_generation": None,
            "consumer_type": "INSTANCE",
        }
        path = f"/allocations/{consumer}"
        http.request("PUT", path, json.dumps(body), _HEADERS)
        answer = http.getresponse()
        text = answer.read()
        if answer.status == 204:
            break
        if answer.status != 409:
            raise RuntimeError(f"PUT {path}: {answer.status} {text[:300]!r}")
        lost += 1
    http.request("DELETE", path, headers=_HEADERS)
    answer = http.getresponse()
    answer.read()
    if answer.status != 204:
        raise RuntimeError(f"DELETE {path}: {answer.status}")
    return lost
