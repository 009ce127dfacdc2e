"""Find a host for a request and claim it there, in the caller's transaction.

The host row is the lock and its free shape the search key; the claim rows are the truth
and `place()` is the policy (DESIGN.md section 4).
"""

import logging
import time
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from django.db import transaction

from instances.explain import why_not
from instances.fitting import fit
from instances.placement import ANYWHERE, Apart, NoFit, Placement, Request, place
from inventory.free_host import free_host
from inventory.ledger import Actor, claim
from inventory.models import Region
from inventory.search import LockedHost, Search
from inventory.shape import room_in
from inventory.snapshots import stale_after
from inventory.topology import HostSnapshot

logger = logging.getLogger(__name__)

# Each turn that ends without a claim means that another claim took the host meanwhile.
_MAX_TURNS = 1000
_PAUSE_S = 0.005


class _Outrun(Exception):
    """The locked host no longer fits; its lock is to be given up."""


# Few, as each entry is as long as there are shapes; what is kept of a shape is in fit().
@lru_cache(maxsize=32)
def _best_first(request: Request, shapes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the shapes on which `request` fits, in the order in which place() has them."""
    ranked = [
        (found.rank, shape)
        for shape in shapes
        if (found := fit(request, room_in(shape))) is not None
    ]
    return tuple(shape for _, shape in sorted(ranked))


@dataclass(slots=True)
class _Attempt:
    """One claim.

    search.without: hosts of `apart` at first, and those whose search key was found to be wrong.
    holds_wrong: one of the latter is locked until the transaction's end.
    """

    request: Request
    search: Search
    consumer: UUID
    actor: Actor
    is_hold: bool
    apart: Apart
    holds_wrong: bool = False

    def at_once(self) -> Placement | None:
        """Claim on the best host that nobody has locked; None if there is none."""
        for shape in _best_first(self.request, tuple(self.search.shapes())):
            placed = self._unless_locked(shape)
            if placed is not None:
                return placed
        return None

    def in_turn(self) -> Placement | None:
        """Claim on the best host, waiting for its lock; None if none fits."""
        for _ in range(_MAX_TURNS):
            accepting = sorted(self.search.accepting_shapes())
            fitting = _best_first(self.request, tuple(accepting))
            if not fitting:
                break
            best = fitting[0]
            # Who holds a host with a wrong key already waits for no other's lock.
            if self.holds_wrong:
                placed = self._unless_locked(best)
                time.sleep(0 if placed else _PAUSE_S)
            else:
                placed = self._after_waiting(best)
            if placed is not None:
                return placed
        return None

    def share(self) -> None:
        """From now on use the hosts of `apart`, too."""
        self.search.without -= self.apart.host_ids

    def _unless_locked(self, shape: str) -> Placement | None:
        host = self.search.lock_first(shape)
        return self._claim_on(host) if host is not None else None

    def _after_waiting(self, shape: str) -> Placement | None:
        host_id = self.search.first(shape)
        if host_id is None:
            return None
        try:
            # The savepoint gives the lock back when the host turns out not to fit:
            # holding one host while waiting for another is how deadlocks begin.
            with transaction.atomic():
                host = self.search.lock(host_id)
                placed = self._claim_on(host) if host is not None else None
                if placed is None:
                    raise _Outrun
                return placed
        except _Outrun:
            return None

    def _claim_on(self, locked: LockedHost) -> Placement | None:
        """Claim on a locked host; its claims are read after the lock, not with it."""
        host = free_host(locked.host_id)
        placed = place(self.request, [host], self.apart)
        if isinstance(placed, Placement):
            claim(host, placed.shares, self.consumer, self.actor, is_hold=self.is_hold)
            return placed
        if fit(self.request, room_in(locked.shape)) is not None:
            # Not outrun: the key is wrong. It would be found again at every turn.
            self.search.without.add(locked.host_id)
            self.holds_wrong = True
            logger.error("host %s has a wrong search key", host.name)
        return None


def room_of(region_id: int) -> tuple[str, ...]:
    """Return the free shapes of a region's hosts that accept claims; one query."""
    return tuple(sorted(Search(region_id, stale_after()).accepting_shapes()))


def fits_one_of(request: Request, shapes: tuple[str, ...]) -> bool:
    """Say whether `request` fits on a host with one of the free shapes."""
    return bool(_best_first(request, shapes))


def best_host(request: Request, region: Region) -> HostSnapshot | None:
    """Return the host on which a claim would be made now; None if there is none.

    Three queries, no lock.
    """
    search = Search(region.pk, stale_after())
    for shape in _best_first(request, tuple(sorted(search.accepting_shapes())))[:1]:
        host_id = search.first(shape)
        return None if host_id is None else free_host(host_id)
    return None


def claim_capacity(
    request: Request,
    region: Region,
    consumer: UUID,
    actor: Actor,
    *,
    is_hold: bool = False,
    apart: Apart = ANYWHERE,
) -> Placement | NoFit:
    """Claim what `request` asks for on the best host of `region`.

    Must run in a transaction. is_hold: kept for somebody, for no guest yet. apart: hosts
    to keep off. NoFit names every host's reason and leaves nothing claimed.
    """
    search = Search(region.pk, stale_after(), set(apart.host_ids))
    attempt = _Attempt(request, search, consumer, actor, is_hold, apart)
    # Locked hosts are skipped at first, and read as sold out; then their turn comes.
    placed = attempt.at_once() or attempt.in_turn()
    if placed is None and apart.may_share:
        attempt.share()
        placed = attempt.at_once() or attempt.in_turn()
    return placed or why_not(request, region, apart)
