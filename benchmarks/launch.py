"""What a launch takes beside bare define and create of the same XML, on a virtual host.

    python -m benchmarks.launch [--rounds 10]

The whole stack runs as in the e2e tests, with a host of its own. In each round a customer
creates an instance with a card and waits for it. The bare side stops that guest, and has
libvirt define and create the very document again; the two sides use the card in turn. Ours
is counted from the commit of the order to the commit that says "running", by PostgreSQL's
clock; of it, what the job deliberately waits for is told apart: whether the guest dies at
once.
"""

import argparse
import os
import statistics
import time
from contextlib import ExitStack

import libvirt  # noqa: TID251 -- the bare side

from instances.jobs.steps import ObserveRunning
from tests.e2e.conftest import Stack, start_stack
from tests.e2e.test_launch_on_the_virtual_host import Customer

_STEPS = (
    "[[s.name, (s.finished_at - s.started_at).total_seconds()] for s in "
    "JobStep.objects.filter(job__instance__pk={pk}, job__kind='launch').order_by('pk')]"
)
_WHOLE = (
    "[(j.finished_at - j.created_at).total_seconds() for j in "
    "Job.objects.filter(instance__pk={pk}, kind='launch')][0]"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    with ExitStack() as undo:
        stack = start_stack(os.environ["DATABASE_URL"], undo)
        undo.enter_context(stack.sanitising_off())
        connection = libvirt.open(stack.hosts[0].libvirt_uri)
        undo.callback(connection.close)
        measured = [_round(stack, connection) for _ in range(rounds)]
    _report(*zip(*measured, strict=True))


def _round(
    stack: Stack, connection: "libvirt.virConnect"
) -> tuple[float, float, dict[str, float]]:
    """Return the seconds of a launch, of the bare calls, and of the launch's steps."""
    stack.wait_for_cards()
    customer = Customer(stack, "employee")
    made = customer.create(1)
    customer.wait_for(made["id"], "running")
    ours = float(stack.rows(_WHOLE.format(pk=made["id"])))
    steps = dict(stack.rows(_STEPS.format(pk=made["id"])))
    (domain,) = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    document = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    domain.destroy()
    domain.undefine()
    began = time.perf_counter()
    connection.defineXML(document).create()
    bare = time.perf_counter() - began
    customer.call("DELETE", f"/v4/linode/instances/{made['id']}")
    customer.wait_gone(made["id"])
    return ours, bare, steps


def _report(
    ours: tuple[float, ...],
    bare: tuple[float, ...],
    steps: tuple[dict[str, float], ...],
) -> None:
    whole, alone = statistics.median(ours), statistics.median(bare)
    print(f"{len(ours)} rounds, medians in seconds")
    print(f"  launch, order to running   {whole:7.3f}   {whole / alone:.2f}x")
    settled = whole - ObserveRunning.settle_s
    print(f"  less the look if it dies   {settled:7.3f}   {settled / alone:.2f}x")
    print(f"  bare define and create     {alone:7.3f}")
    for name in steps[0]:
        taken = statistics.median(each[name] for each in steps)
        print(f"    step {name:<21} {taken:7.3f}")


if __name__ == "__main__":
    main()
