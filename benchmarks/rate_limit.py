"""What counting a request costs: run with the environment of a migrated database.

    set -a; . .local/env.sh; set +a; .venv/bin/python -m benchmarks.rate_limit

Prints the median and the 99th percentile of one count() with a warm connection, alone and
with 8 clients of one token each and of one token together. It makes an account and
removes it.
"""

import os
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gpucloud_site.settings")
django.setup()

from django.contrib.auth.models import User  # noqa: E402 -- after django.setup()
from django.db import connection  # noqa: E402

from instances import tokens  # noqa: E402
from instances.api import rate_limit  # noqa: E402
from instances.models import Account, ApiToken  # noqa: E402

ROUNDS = 2000
CLIENTS = 8


@contextmanager
def some_tokens() -> Iterator[list[ApiToken]]:
    account = Account.objects.create(name="benchmark", email="b@example.net")
    user = User.objects.create(username="benchmark")
    try:
        yield [
            tokens.issue(account, user, f"b{n}", tokens.new_secret())
            for n in range(CLIENTS)
        ]
    finally:
        ApiToken.objects.filter(account=account).delete()
        account.delete()
        user.delete()


def timed(token: ApiToken) -> list[float]:
    rate_limit.count(token)
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        rate_limit.count(token)
        seconds.append(time.perf_counter() - start)
    connection.close()
    return seconds


def report(name: str, seconds: list[float], wall: float) -> None:
    ordered = sorted(seconds)
    print(
        f"{name:28} p50 {statistics.median(ordered) * 1e3:6.3f} ms  "
        f"p99 {ordered[int(len(ordered) * 0.99)] * 1e3:6.3f} ms  "
        f"{len(ordered) / wall:8.0f} counts/s"
    )


def main() -> None:
    with some_tokens() as made:
        for name, used in (
            ("1 client", made[:1]),
            (f"{CLIENTS} clients, a token each", made),
            (f"{CLIENTS} clients, one token", made[:1] * CLIENTS),
        ):
            start = time.perf_counter()
            with ThreadPoolExecutor(len(used)) as pool:
                seconds = [s for each in pool.map(timed, used) for s in each]
            report(name, seconds, time.perf_counter() - start)


if __name__ == "__main__":
    main()
