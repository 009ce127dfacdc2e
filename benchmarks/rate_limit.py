"""What counting a request against its token's rate limit costs, for 1 and 8 clients.

    set -a; . .local/env.sh; set +a
    .venv/bin/python -m benchmarks.rate_limit

Each client has a connection of its own, as a web worker's thread has.
"""

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.own_database import own_database

ROUNDS = 2000
CLIENTS = 8


def main() -> None:
    with own_database("rate_limit"):
        # Models can be imported only now.
        from django.contrib.auth.models import User

        from instances import tokens
        from instances.models import Account

        account = Account.objects.create(name="benchmark", email="b@example.net")
        user = User.objects.create(username="benchmark")
        made = [
            tokens.issue(account, user, f"b{n}", tokens.new_secret())
            for n in range(CLIENTS)
        ]
        show("1 client", made[:1])
        show(f"{CLIENTS} clients, a token each", made)
        show(f"{CLIENTS} clients of one token", made[:1] * CLIENTS)


def show(name: str, used: Sequence[Any]) -> None:
    with ThreadPoolExecutor(len(used)) as pool:
        seconds = sorted(s for each in pool.map(counted, used) for s in each)
    p50, p99 = statistics.median(seconds), seconds[int(len(seconds) * 0.99)]
    print(f"| {name} | {p50 * 1e3:.2f} | {p99 * 1e3:.2f} |")


def counted(token: Any) -> list[float]:
    """Return the seconds of each of ROUNDS counts, over a warm connection."""
    from django.db import connection

    from instances.api import rate_limit

    rate_limit.count(token)
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        rate_limit.count(token)
        seconds.append(time.perf_counter() - start)
    connection.close()
    return seconds


if __name__ == "__main__":
    main()
