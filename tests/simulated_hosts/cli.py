"""The arguments of `python -m tests.simulated_hosts`; needs Django set up."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from inventory.exceptions import EnrolmentRefused
from tests.simulated_hosts.board import Board, parse_board
from tests.simulated_hosts.driver import VERBS
from tests.simulated_hosts.fleet import FleetOrder, simulate

_TOLD_EVERY = 100


def main(arguments: Sequence[str]) -> int:
    """Make the hosts that the arguments ask for; return the exit status."""
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    if not settings.SIMULATED_HOSTS:
        parser.error("GPUCLOUD_SIMULATED_HOSTS is not set: set it to a folder for them")
    order = FleetOrder(**options | {"delays": dict(options["delays"])})
    made = 0
    try:
        for host in simulate(order, Path(settings.SIMULATED_HOSTS)):
            made += 1
            if made % _TOLD_EVERY == 0:
                print(f"{host} is the {made}th new host", flush=True)
    except EnrolmentRefused as error:
        print(f"{made} new hosts; the next one is refused: {error}", flush=True)
        return 1
    print(f"{made} new hosts, {order.count} in all", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulated_hosts")
    parser.add_argument("count", type=int, help="how many hosts there are to be")
    parser.add_argument(
        "--board",
        type=parse_board,
        default=Board(),
        help="NUMA nodes x cards on each (default 2x4)",
    )
    parser.add_argument("--region", default="us-east")
    parser.add_argument(
        "--prefix", default="sim", help="of the hosts' names (default sim)"
    )
    parser.add_argument(
        "--delay",
        dest="delays",
        action="append",
        type=delay,
        default=[],
        metavar="VERB=TIME",
        help="start=1s, define_domain=20ms, *=5ms for every verb without its own",
    )
    return parser


def delay(text: str) -> tuple[str, float]:
    """Read "start=1s" into a verb of the port and seconds. Raises ArgumentTypeError."""
    found = re.fullmatch(r"(\*|\w+)=(\d+(?:\.\d+)?)(ms|s)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no delay, such as start=1s")
    name, number, unit = found.groups()
    verb = name if name in {*VERBS, "*"} else f"{name}_domain"
    if verb not in {*VERBS, "*"}:
        known = ", ".join(sorted(VERBS))
        raise argparse.ArgumentTypeError(f"{name!r} is no verb of the port: {known}")
    return verb, float(number) * (0.001 if unit == "ms" else 1.0)
