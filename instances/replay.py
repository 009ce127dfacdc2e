"""Replay launches and deletions on a fleet in memory, through the product's place(); pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from instances.fleet_index import FleetIndex
from instances.placement import NumaPolicy, Request
from inventory.topology import FreeCard, HostSnapshot, NodeSnapshot

_MODEL = "gpu"


class InvalidReplay(ValueError):
    """The input is wrong; the message names the field and what belongs there."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Equal hosts, all counts at least 1."""

    hosts: int
    numa_per_host: int
    cards_per_numa: int

    @property
    def cards_per_host(self) -> int:
        return self.numa_per_host * self.cards_per_numa

    def snapshots(self) -> list[HostSnapshot]:
        """Return the empty hosts. A card's id is its slot, counted over its host's nodes."""
        size = self.cards_per_numa
        nodes = tuple(
            NodeSnapshot(
                number,
                tuple(FreeCard(number * size + slot, _MODEL) for slot in range(size)),
                tuple((number * size + slot,) for slot in range(size)),
                size,
            )
            for number in range(self.numa_per_host)
        )
        return [HostSnapshot(i, f"host{i}", nodes) for i in range(self.hosts)]

    def request(self, gpus: int) -> Request:
        """Return a plan of that size: a CPU and a MiB for each card, so cards decide.

        On one node where a node has so many cards, else split over the fewest.
        """
        fits_one = gpus <= self.cards_per_numa
        policy = NumaPolicy.REQUIRED if fits_one else NumaPolicy.PREFERRED
        return Request(gpus, gpus, gpus, _MODEL, policy)


def replay(document: Any) -> Iterator[dict[str, Any]]:
    """Yield {"id", "host", "cards"} for each create, in order; host None if it is refused.

    document: {"fleet": {"hosts", "numa_per_host", "cards_per_numa"}, "mix": ..., "events":
    [{"t", "op": "create", "id", "gpus"} | {"t", "op": "delete", "id"}]}. cards: [node,
    slot] pairs. Hosts, nodes and slots count from 0. The mix is not looked at, nor is any
    event before its turn. Raises InvalidReplay.
    """
    fleet = _fleet(document)
    events = document.get("events")
    if not isinstance(events, list):
        raise InvalidReplay("events: write a list of creates and deletes")
    sizes = {e.get("gpus") for e in events if isinstance(e, dict)}
    requests = {
        size: fleet.request(size)
        for size in sizes
        if isinstance(size, int) and 1 <= size <= fleet.cards_per_host
    }
    index = FleetIndex(fleet.snapshots(), list(requests.values()))
    where: dict[Any, int] = {}
    seen: set[Any] = set()
    for number, event in enumerate(events):
        name = f"events[{number}]"
        instance = _field(event, "id", (int, str), name)
        op = _field(event, "op", (str,), name)
        if op == "create":
            if instance in seen:
                raise InvalidReplay(f"{name}.id: {instance!r} was created before")
            seen.add(instance)
            gpus = _positive(event, "gpus", name)
            yield _create(fleet, index, requests.get(gpus), instance, where)
        elif op == "delete":
            if instance not in seen:
                raise InvalidReplay(f"{name}.id: {instance!r} was never created")
            host = where.pop(instance, None)
            if host is not None:
                index.release(host, instance)
        else:
            raise InvalidReplay(f"{name}.op: {op!r} is neither create nor delete")


def _create(
    fleet: Fleet,
    index: FleetIndex,
    request: Request | None,
    instance: Any,
    where: dict[Any, int],
) -> dict[str, Any]:
    placed = index.place(request, instance) if request else None
    if placed is None:
        return {"id": instance, "host": None, "cards": []}
    where[instance] = placed.host_id
    cards = [
        list(divmod(card_id, fleet.cards_per_numa))
        for share in placed.shares
        for card_id in share.card_ids
    ]
    return {"id": instance, "host": placed.host_id, "cards": cards}


def _fleet(document: Any) -> Fleet:
    found = _field(document, "fleet", (dict,), "")
    names = ("hosts", "numa_per_host", "cards_per_numa")
    return Fleet(*(_positive(found, name, "fleet") for name in names))


def _field(document: Any, name: str, kinds: tuple[type, ...], where: str) -> Any:
    path = f"{where}.{name}" if where else name
    if not isinstance(document, dict):
        raise InvalidReplay(f"{where or 'the document'}: write a JSON object")
    value = document.get(name)
    if not isinstance(value, kinds) or isinstance(value, bool):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise InvalidReplay(f"{path}: {value!r} is no {wanted}")
    return value


def _positive(document: Any, name: str, where: str) -> int:
    value: int = _field(document, name, (int,), where)
    if value < 1:
        raise InvalidReplay(f"{where}.{name}: {value} is below 1")
    return value
