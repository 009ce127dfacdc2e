"""Find a host for a request and claim it there, in the caller's transaction.

The host row is the lock and its free shape the search key; the claim rows are the truth
and `place()` is the policy (DESIGN.md section 4).
"""

from uuid import UUID

from django.db import transaction
from django.db.models import Q

from instances.placement import NoFit, Placement, Request, place
from inventory.ledger import Actor, claim
from inventory.models import Host, Region
from inventory.shape import host_of
from inventory.snapshots import accepting_hosts, snapshots_of

# Each turn that ends without a claim means that another claim took the host meanwhile.
_MAX_TURNS = 1000


class _Outrun(Exception):  # noqa: N818 -- rolls one savepoint back, never leaves here
    """The locked host no longer fits; its lock is to be given up."""


def claim_capacity(
    request: Request, region: Region, consumer: UUID, actor: Actor
) -> Placement | NoFit:
    """Claim what `request` asks for on the best host of `region`.

    Must run in a transaction. NoFit names every host's reason and leaves nothing claimed.
    """
    for shape in _fitting_shapes(request, region):
        placed = _claim_on(request, _hosts(region, free_shape=shape), consumer, actor)
        if placed is not None:
            return placed
    # Locked hosts were skipped, and read as sold out. Look again and wait for their locks.
    for _ in range(_MAX_TURNS):
        shapes = _fitting_shapes(request, region)
        if not shapes:
            return _why_not(request, region)
        placed = _claim_on(
            request, _hosts(region, free_shape=shapes[0]), consumer, actor, wait=True
        )
        if placed is not None:
            return placed
    return _why_not(request, region)


def _hosts(region: Region, **conditions: object) -> Q:
    return Q(region=region, **conditions)


def _fitting_shapes(request: Request, region: Region) -> list[str]:
    """Return the distinct free shapes that fit, the best first."""
    shapes = (
        accepting_hosts()
        .filter(region=region)
        .order_by("free_shape")
        .values_list("free_shape", flat=True)
        .distinct()
    )
    candidates = [host_of(shape) for shape in shapes]
    fitting = []
    while isinstance(best := place(request, candidates), Placement):
        fitting.append(best.host_name)
        candidates = [c for c in candidates if c.name != best.host_name]
    return fitting


def _claim_on(
    request: Request, hosts: Q, consumer: UUID, actor: Actor, *, wait: bool = False
) -> Placement | None:
    """Lock one of `hosts` and claim there; None if none was to be had."""
    try:
        # The savepoint gives the host's lock back when the host turns out not to fit:
        # holding one host while waiting for another is how deadlocks begin.
        with transaction.atomic():
            host = _lock_one(hosts, wait=wait)
            if host is None:
                return None
            placed = place(request, snapshots_of([host]))
            if isinstance(placed, NoFit):
                raise _Outrun
            claim(host, placed.shares, consumer, actor)
            return placed
    except _Outrun:
        return None


def _lock_one(hosts: Q, *, wait: bool) -> Host | None:
    """Lock one host. Its claims are read later, in a statement that sees past the lock."""
    matching = accepting_hosts().filter(hosts).order_by("pk")
    if not wait:
        return matching.select_for_update(of=("self",), skip_locked=True).first()
    chosen = matching.values_list("pk", flat=True).first()
    if chosen is None:
        return None
    # By key alone: a condition on the shape would drop the row after the wait for its lock.
    return accepting_hosts().select_for_update(of=("self",)).filter(pk=chosen).first()


def _why_not(request: Request, region: Region) -> NoFit:
    placed = place(request, snapshots_of(accepting_hosts().filter(region=region)))
    return placed if isinstance(placed, NoFit) else NoFit({})
