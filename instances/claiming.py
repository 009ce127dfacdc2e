"""Find a host for a request and claim it there, in the caller's transaction.

The host row is the lock and its free shape the search key; the claim rows are the truth
and `place()` is the policy (DESIGN.md section 4).
"""

import logging
from dataclasses import dataclass, field
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from instances.placement import NoFit, Placement, Request, place
from inventory.ledger import Actor, claim
from inventory.models import Host, Region
from inventory.shape import host_of
from inventory.snapshots import accepting_hosts, snapshots_of

logger = logging.getLogger(__name__)

# Each turn that ends without a claim means that another claim took the host meanwhile.
_MAX_TURNS = 1000


class _Outrun(Exception):
    """The locked host no longer fits; its lock is to be given up."""


class _StaleKey(Exception):
    """The host's search key promises what its claims do not leave. host_id: which."""

    def __init__(self, host_id: int) -> None:
        self.host_id = host_id
        super().__init__(host_id)


@dataclass(slots=True)
class _Search:
    """One claim's search. excluded: hosts whose search key was found to be wrong."""

    request: Request
    region: Region
    consumer: UUID
    actor: Actor
    excluded: set[int] = field(default_factory=set)

    def hosts(self) -> QuerySet[Host]:
        return (
            accepting_hosts().filter(region=self.region).exclude(pk__in=self.excluded)
        )

    def fitting_shapes(self) -> list[str]:
        """Return the distinct free shapes that fit, the best first."""
        shapes = (
            self.hosts()
            .order_by("free_shape")
            .values_list("free_shape", flat=True)
            .distinct()
        )
        candidates = [host_of(shape) for shape in shapes]
        fitting = []
        while isinstance(best := place(self.request, candidates), Placement):
            fitting.append(best.host_name)
            candidates = [c for c in candidates if c.name != best.host_name]
        return fitting

    def claim_on(self, shape: str, *, wait: bool = False) -> Placement | None:
        """Lock a host of that shape and claim there; None if none was to be had."""
        try:
            # The savepoint gives the host's lock back when the host turns out not to fit:
            # holding one host while waiting for another is how deadlocks begin.
            with transaction.atomic():
                host = self._lock_one(shape, wait=wait)
                if host is None:
                    return None
                placed = place(self.request, snapshots_of([host]))
                if isinstance(placed, NoFit):
                    self._explain(host)
                    raise _Outrun
                claim(host, placed.shares, self.consumer, self.actor)
                return placed
        except _Outrun:
            return None
        except _StaleKey as error:
            self.excluded.add(error.host_id)
            logger.exception("host %s has a wrong search key", error.host_id)
            return None

    def _lock_one(self, shape: str, *, wait: bool) -> Host | None:
        """Lock one host. Its claims are read later, in a statement after the lock."""
        matching = self.hosts().filter(free_shape=shape).order_by("pk")
        if not wait:
            return matching.select_for_update(of=("self",), skip_locked=True).first()
        chosen = matching.values_list("pk", flat=True).first()
        if chosen is None:
            return None
        # By key alone: with the shape, the row would drop out after the wait for its lock.
        locked = accepting_hosts().select_for_update(of=("self",))
        return locked.filter(pk=chosen).first()

    def _explain(self, host: Host) -> None:
        """Tell a host that was claimed on meanwhile from one whose key is wrong.

        Without this a wrong key would be found again at every turn.
        """
        if isinstance(place(self.request, [host_of(host.free_shape)]), Placement):
            raise _StaleKey(host.pk)

    def why_not(self) -> NoFit:
        hosts = accepting_hosts().filter(region=self.region)
        placed = place(self.request, snapshots_of(hosts))
        return placed if isinstance(placed, NoFit) else NoFit({})


def claim_capacity(
    request: Request, region: Region, consumer: UUID, actor: Actor
) -> Placement | NoFit:
    """Claim what `request` asks for on the best host of `region`.

    Must run in a transaction. NoFit names every host's reason and leaves nothing claimed.
    """
    search = _Search(request, region, consumer, actor)
    for shape in search.fitting_shapes():
        placed = search.claim_on(shape)
        if placed is not None:
            return placed
    # Locked hosts were skipped, and read as sold out. Look again and wait for their locks.
    for _ in range(_MAX_TURNS):
        shapes = search.fitting_shapes()
        if not shapes:
            break
        placed = search.claim_on(shapes[0], wait=True)
        if placed is not None:
            return placed
    return search.why_not()
