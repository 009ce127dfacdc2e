"""Find the host that place() would choose, without ranking every host each time; pure.

Hosts are kept by their rooms, and rooms in the order in which each request prefers them.
A launch or a release touches one host only.
"""

import heapq
from bisect import insort

from instances.demand import Request
from instances.fitting import fit
from instances.placement import NoFit, Placement, place
from inventory.shape import HostRoom, room_of
from inventory.topology import HostSnapshot, NodeShare


class FleetIndex:
    """A fleet in memory that places and releases one request after another.

    hosts: as they are when empty; ids are unique. requests: all that will be placed.
    """

    def __init__(self, hosts: list[HostSnapshot], requests: list[Request]) -> None:
        self._empty = {host.host_id: host for host in hosts}
        self._hosts = dict(self._empty)
        self._shares: dict[int, dict[object, tuple[NodeShare, ...]]] = {
            host.host_id: {} for host in hosts
        }
        self._room: dict[int, HostRoom] = {}
        # room -> host ids; stale ones are passed over when they come up.
        self._with_room: dict[HostRoom, list[int]] = {}
        self._preferred: dict[Request, list[tuple[tuple[int, ...], int, HostRoom]]] = {
            request: [] for request in requests
        }
        for host in hosts:
            self._file(host)

    def _file(self, host: HostSnapshot) -> None:
        """Note the host's room, and where each request ranks it if it is a new one."""
        room = room_of(host)
        self._hosts[host.host_id] = host
        self._room[host.host_id] = room
        if room not in self._with_room:
            self._with_room[room] = []
            for request, order in self._preferred.items():
                found = fit(request, room)
                if found is not None:
                    # The serial number keeps rooms, which have no order, from comparison.
                    insort(order, (found.rank, len(self._with_room), room))
        heapq.heappush(self._with_room[room], host.host_id)

    def _first_host(self, room: HostRoom) -> int | None:
        heap = self._with_room[room]
        while heap and self._room[heap[0]] != room:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def place(self, request: Request, consumer: object) -> Placement | None:
        """Give `consumer` a place, the one that all hosts together would yield, or None."""
        best: tuple[tuple[int, ...], int] | None = None
        for rank, _, room in self._preferred[request]:
            if best is not None and rank > best[0]:
                break
            host_id = self._first_host(room)
            if host_id is not None and (best is None or host_id < best[1]):
                best = (rank, host_id)
        if best is None:
            return None
        host = self._hosts[best[1]]
        placed = place(request, [host])
        if isinstance(placed, NoFit):
            return None
        self._shares[host.host_id][consumer] = placed.shares
        self._file(host.less(placed.shares))
        return placed

    def release(self, host_id: int, consumer: object) -> None:
        """Give back what `consumer` holds on that host. Raises KeyError if it holds nothing."""
        held = self._shares[host_id]
        del held[consumer]
        host = self._empty[host_id]
        for shares in held.values():
            host = host.less(shares)
        self._file(host)
