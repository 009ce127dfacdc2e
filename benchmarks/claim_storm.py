"""16 processes claim and release 10,000 times at random sizes; then the books are checked.

    python -m benchmarks.claim_storm

Exit status 1 if a card was given twice, a claim lost, a sum wrong, a ledger differs, a
deadlock happened, or 0.1% of the claims were refused although their plan was advertised
with room for every client at once.
"""

import os
import subprocess
import sys
import time
from collections import Counter

import django

from benchmarks import servers

CLIENTS, EACH, HOSTS = 16, 625, 50
_CLIENT = (
    "import django; django.setup(); "
    "from benchmarks import claim_storm_client; claim_storm_client"
)


def main() -> int:
    os.environ["DATABASE_URL"] = servers.database_url(f"bench_storm_{int(time.time())}")
    django.setup()
    # Only now: they need Django's models.
    from benchmarks import claim_fleet, claim_storm_client
    from inventory.models import NodeClaim

    claim_fleet.build(HOSTS)
    open_before = NodeClaim.objects.filter(released_at=None).count()
    began = time.perf_counter()
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", f"{_CLIENT}.client({seed}, {EACH}, {CLIENTS})"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(CLIENTS)
    ]
    told: Counter[str] = Counter()
    for process in clients:
        out, _ = process.communicate()
        if process.returncode:
            print(f"a client ended with status {process.returncode}")
            return 1
        for line in out.splitlines():
            count, what = line.split(" ", 1)
            told[what] += int(count)
    print(f"{dict(told)} in {time.perf_counter() - began:.0f} s")
    wrong = claim_storm_client.check(open_before, told)
    print("\n".join(wrong) or "0 double, 0 lost, sums right, no deadlock")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
