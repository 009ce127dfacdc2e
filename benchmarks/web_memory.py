"""Memory of a web worker by size of the fleet: it must not grow with it.

    python -m benchmarks.web_memory [--hosts 25 1000 10000]

Each worker claims and releases, lists availability, and answers staff's first page. The
figure is the largest Pss_Anon of the workers (/proc/PID/smaps_rollup): what is their own.
"""

import argparse
import os
import re
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

from benchmarks import servers
from benchmarks.claim import ours, reservation_cycle

ROUNDS = 100
_PASSWORD = "bench"  # noqa: S105 -- of a database that only the benchmark has
_STAFF = (
    "import django; django.setup(); "
    "from django.contrib.auth import get_user_model as u; u().objects.filter("
    "username='staff').exists() or u().objects.create_superuser('staff', password="
    f"{_PASSWORD!r})"
)


def anonymous_mib(server: int) -> float:
    """Return the memory of the server's largest worker."""
    workers = [
        pid
        for pid in (e.name for e in Path("/proc").iterdir() if e.name.isdecimal())
        if _parent(pid) == server
    ]
    return max(_pss_anon_kib(pid) for pid in workers) / 1024


def _parent(pid: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def _pss_anon_kib(pid: str) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"Pss_Anon:\s+(\d+) kB", rollup)
    return int(found.group(1)) if found else 0


def staff_cookie(http: HTTPConnection) -> str:
    """Log in as staff; return the header that says so."""
    http.request("GET", "/admin/login/")
    answer = http.getresponse()
    answer.read()
    token = re.search(r"csrftoken=(\w+)", answer.headers["Set-Cookie"])
    assert token
    form = {
        "username": "staff",
        "password": _PASSWORD,
        "csrfmiddlewaretoken": token.group(1),
    }
    headers = {
        "Cookie": f"csrftoken={token.group(1)}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    http.request("POST", "/admin/login/?next=/admin/", urlencode(form), headers)
    answer = http.getresponse()
    answer.read()
    cookies = ";".join(answer.headers.get_all("Set-Cookie") or [])
    session = re.search(r"sessionid=(\w+)", cookies)
    assert session, f"{answer.status}: not logged in"
    return f"sessionid={session.group(1)}"


def measure(hosts: int) -> None:
    """Print one line: memory after the first request, and after many of each kind."""
    url = servers.database_url(f"bench_claim_{hosts}")
    tokens = ours(url, hosts, 8)
    subprocess.run([sys.executable, "-c", _STAFF], check=True, env=os.environ)
    collect = ("manage.py", "collectstatic", "--noinput", "-v0")
    subprocess.run([sys.executable, *collect], check=True, env=os.environ)
    own = servers.serving(
        ".venv/bin/gunicorn",
        "gpucloud_site.wsgi:application",
        {"DATABASE_URL": url, "GPUCLOUD_API_RATE_LIMIT": "0"},
    )
    cycle = reservation_cycle(tokens)
    with own as (port, server):
        http = HTTPConnection("127.0.0.1", port)
        cookie = staff_cookie(http)
        first = anonymous_mib(server)
        for number in range(ROUNDS):
            # Another connection each time: both workers get some.
            http = HTTPConnection("127.0.0.1", port)
            cycle(http, number % len(tokens))
            for path, header in (
                ("/v4/regions/availability", {"Authorization": f"Bearer {tokens[0]}"}),
                ("/admin/", {"Cookie": cookie}),
            ):
                http.request("GET", path, headers=header)
                answer = http.getresponse()
                assert answer.status == 200, (path, answer.status)
                answer.read()
            http.close()
        print(
            f"{hosts:6} hosts: {first:.1f} MiB at first, {anonymous_mib(server):.1f} MiB "
            f"after {ROUNDS} rounds",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of a web worker.")
    parser.add_argument("--hosts", type=int, nargs="*", default=[25, 1000, 10_000])
    for hosts in parser.parse_args().hosts:
        measure(hosts)


if __name__ == "__main__":
    main()
