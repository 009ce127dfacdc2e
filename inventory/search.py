"""Find and lock a host that accepts claims by its free shape, in prepared statements.

`snapshots.accepting_hosts()` says the same for whole lists of hosts; a test holds the two
together.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from inventory import prepared
from inventory.choices import AlertClass, HostConnection, HostPolicy

_INDEXED = f"""h.region_id = %(region)s AND h.policy = '{HostPolicy.IN_SERVICE}'
   AND h.connection = '{HostConnection.OK}'"""

# Hops from shape to shape along the index host_accepting_shape, so that the cost follows
# the number of shapes and not of hosts.
_SHAPES = f"""
WITH RECURSIVE shapes AS (
    (SELECT h.free_shape AS shape FROM inventory_host h WHERE {_INDEXED}
      ORDER BY h.free_shape LIMIT 1)
    UNION ALL
    SELECT (SELECT h.free_shape FROM inventory_host h
             WHERE {_INDEXED} AND h.free_shape > shapes.shape
             ORDER BY h.free_shape LIMIT 1)
      FROM shapes WHERE shapes.shape IS NOT NULL)
SELECT shape FROM shapes WHERE shape IS NOT NULL
"""  # noqa: S608 -- made of constants, as all of these

_ACCEPTING = f"""{_INDEXED} AND h.last_seen_at > now() - %(stale_after)s
   AND NOT EXISTS (
       SELECT FROM inventory_discrepancy d WHERE d.host_id = h.id AND d.card_id IS NULL
          AND d.prevents_claims AND d.resolved_at IS NULL)
   AND NOT EXISTS (
       SELECT FROM inventory_alert a WHERE (a.host_id = h.id OR a.region_id = h.region_id)
          AND a.cleared_at IS NULL AND a.alert_class = '{AlertClass.PREVENTS_CLAIMS}')"""  # noqa: S608

_FIRST = f"""
SELECT h.id, h.free_shape FROM inventory_host h
 WHERE {_ACCEPTING} AND h.free_shape = %(shape)s AND h.id <> ALL (%(without)s::bigint[])
 ORDER BY h.id LIMIT 1
"""  # noqa: S608
_LOCK_FIRST = f"{_FIRST} FOR NO KEY UPDATE OF h SKIP LOCKED"
_LOCK = f"""
SELECT h.id, h.free_shape FROM inventory_host h WHERE {_ACCEPTING} AND h.id = %(host)s
   FOR NO KEY UPDATE OF h
"""  # noqa: S608

# What _SHAPES gives less the shapes of hosts that accept nothing; reads every host.
_ACCEPTING_SHAPES = f"""
SELECT DISTINCT h.free_shape FROM inventory_host h
 WHERE {_ACCEPTING} AND h.id <> ALL (%(without)s::bigint[])
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class LockedHost:
    """A host whose lock is held. shape: its search key as the lock's last holder left it."""

    host_id: int
    shape: str


@dataclass(slots=True)
class Search:
    """One search in one region. without: ids of hosts that are not to be found."""

    region_id: int
    stale_after: timedelta
    without: set[int] = field(default_factory=set)

    def shapes(self) -> list[str]:
        """Return the free shapes there are, and perhaps some of hosts that accept nothing.

        The cost follows the number of shapes, not of hosts.
        """
        return [shape for (shape,) in self._rows(_SHAPES)]

    def accepting_shapes(self) -> list[str]:
        """Return the free shapes of the hosts that accept claims; reads every host."""
        return [shape for (shape,) in self._rows(_ACCEPTING_SHAPES)]

    def lock_first(self, shape: str) -> LockedHost | None:
        """Lock a host of that shape that nobody else has locked; None if there is none."""
        found = self._rows(_LOCK_FIRST, shape=shape)
        return LockedHost(*found[0]) if found else None

    def first(self, shape: str) -> int | None:
        """Return the first host of that shape, locked by others or not."""
        found = self._rows(_FIRST, shape=shape)
        return int(found[0][0]) if found else None

    def lock(self, host_id: int) -> LockedHost | None:
        """Wait for that host's lock; None if it accepts no claims then."""
        found = self._rows(_LOCK, host=host_id)
        return LockedHost(*found[0]) if found else None

    def _rows(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        return prepared.rows(
            statement,
            {
                "region": self.region_id,
                "stale_after": self.stale_after,
                "without": list(self.without),
                **parameters,
            },
        )
