"""GET /v4/linode/instances of 500 Linodes beside dumping plain dicts from one query.

    set -a; . .local/env.sh; set +a
    .venv/bin/python -m benchmarks.listing

In one process, in turns. The view's side is all of a request but the socket: middleware,
token, scope, rate limit, count and page. The plain side reads what the view shows in one
query with the same joins, and dumps the rows as they come.
"""

import json
import statistics
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from benchmarks.own_database import own_database

INSTANCES = 500
ROUNDS = 60
_SHOWN = (
    *("id", "uuid", "label", "tags", "phase", "desired", "observed", "created_at"),
    *("updated_at", "watchdog_enabled", "has_user_data", "ipv4", "ipv6_prefix"),
    *("plan__slug", "plan__vcpus", "plan__memory_mib", "plan__disk_mib"),
    *("plan__transfer_gb", "plan__cards", "region__slug", "image__slug"),
    *("next_image__slug", "placement_member__group__id"),
    *("placement_member__group__label", "placement_member__group__policy"),
)


def fill() -> tuple[Any, str]:
    """Make an account with 500 running Linodes, each with an address; return it and a token."""
    from django.contrib.auth.models import User
    from django.utils import timezone

    from instances import tokens
    from instances.choices import Desired, Phase
    from instances.models import Account, Image, Instance, Plan
    from inventory.models import AddressClaim, AddressPool, Region

    account = Account.objects.create(name="benchmark", email="b@example.net")
    user = User.objects.create(username="benchmark")
    account.members.add(user)
    region = Region.objects.create(slug="us-east", label="Newark", country="us")
    plan = Plan.objects.create(
        slug="p", label="P", vcpus=8, memory_mib=1024, disk_mib=1024,
        price_hourly=1, price_monthly=100,
    )  # fmt: skip
    image = Image.objects.create(slug="gpucloud/probe", label="Probe", kernel_path="/k")
    pool = AddressPool.objects.create(
        name="pool",
        region=region,
        network="10.1.0.0/16",
        first="10.1.1.0",
        last="10.1.200.0",
        gateway="10.1.0.1",
        ipv6_prefix="2001:db8::/64",
    )
    now = timezone.now() - timedelta(days=1)
    made = Instance.objects.bulk_create(
        Instance(
            account=account,
            plan=plan,
            region=region,
            image=image,
            label=f"linode{n}",
            tags=["prod", "blue"],
            uuid=uuid.uuid4(),
            desired=Desired.RUNNING,
            phase=Phase.RUNNING,
            ready_at=now,
            created_by="user:benchmark",
        )
        for n in range(INSTANCES)
    )
    AddressClaim.objects.bulk_create(
        AddressClaim(
            pool=pool,
            address=f"10.1.{1 + n // 250}.{1 + n % 250}",
            consumer=instance.uuid,
            claimed_at=now,
        )
        for n, instance in enumerate(made)
    )
    secret = tokens.new_secret()
    tokens.issue(account, user, "benchmark", secret)
    return account, secret


def view_of(secret: str) -> Callable[[], bytes]:
    from django.test import Client

    client = Client(
        SERVER_NAME="127.0.0.1", headers={"authorization": f"Bearer {secret}"}
    )

    def listed() -> bytes:
        answer = client.get("/v4/linode/instances?page_size=500")
        assert answer.status_code == 200, answer.content
        return bytes(answer.content)

    return listed


def dump_of(account: Any) -> Callable[[], bytes]:
    from django.core.serializers.json import DjangoJSONEncoder

    from instances.selectors import instances_of

    def dumped() -> bytes:
        rows = list(instances_of(account).values(*_SHOWN))
        return json.dumps({"data": rows}, cls=DjangoJSONEncoder).encode()

    return dumped


def main() -> None:
    with own_database("listing"):
        account, secret = fill()
        sides = {"the view": view_of(secret), "plain dicts": dump_of(account)}
        cpu: dict[str, list[float]] = {name: [] for name in sides}
        wall: dict[str, list[float]] = {name: [] for name in sides}
        for name, side in sides.items():
            assert len(json.loads(side())["data"]) == INSTANCES, name
        for _ in range(ROUNDS):
            for name, side in sides.items():
                began, began_cpu = time.perf_counter(), time.process_time()
                side()
                wall[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - began_cpu)
        show("CPU of the process", cpu)
        show("wall", wall)


def show(what: str, seconds: dict[str, list[float]]) -> None:
    view, plain = (statistics.median(found) * 1e3 for found in seconds.values())
    print(f"{what}: view {view:.1f} ms, plain {plain:.1f} ms, {view / plain:.2f}x")


if __name__ == "__main__":
    main()
