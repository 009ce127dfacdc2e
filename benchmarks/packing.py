"""Compare placement policies on the same launches: python -m benchmarks.packing.

Poisson arrivals, exponential lifetimes of mean 1, load 90%, 5 lifetimes of warm-up and 20
measured; every policy gets the same sequence of each seed. "ours" is the product's own
place(), through what `manage.py replay_placement` runs.
"""

import argparse
import heapq
import random
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from instances.replay import Fleet, replay

FLEETS = (Fleet(100, 2, 4), Fleet(200, 2, 2))
MIX = {1: 0.55, 2: 0.20, 3: 0.05, 4: 0.20}
LOAD = 0.9
WARM_UP, MEASURED = 5.0, 20.0
# A group of nodes that holds a request of 4: the bound packs into these.
GROUP = 4


@dataclass(frozen=True, slots=True)
class Launch:
    """ends: when it is deleted, if it was placed."""

    id: int
    at: float
    ends: float
    gpus: int


def launches(fleet: Fleet, seed: int) -> list[Launch]:
    chance = random.Random(seed)
    cards = fleet.hosts * fleet.cards_per_host
    mean = sum(size * share for size, share in MIX.items())
    at, made = 0.0, []
    while (at := at + chance.expovariate(LOAD * cards / mean)) < WARM_UP + MEASURED:
        (gpus,) = chance.choices(list(MIX), list(MIX.values()))
        made.append(Launch(len(made), at, at + chance.expovariate(1.0), gpus))
    return made


Layout = tuple[int, ...]  # cards taken of each node of a host


@dataclass(slots=True)
class State:
    """A fleet in use. free, ends: per host and node; ends: when each guest leaves."""

    fleet: Fleet
    free: list[list[int]]
    ends: list[list[list[float]]]
    chance: random.Random
    now: float = 0.0

    def layouts(self, gpus: int) -> Iterator[tuple[int, Layout]]:
        """Yield (host, layout): on one node, or split if no node has so many cards."""
        size, nodes = self.fleet.cards_per_numa, self.fleet.numa_per_host
        for host, free in enumerate(self.free):
            if gpus <= size:
                for node in range(nodes):
                    if free[node] >= gpus:
                        yield host, tuple(gpus * (i == node) for i in range(nodes))
            elif sum(free) >= gpus:
                yield from ((host, way) for way in _ways(gpus, free))


def _ways(gpus: int, free: list[int]) -> Iterator[Layout]:
    if not free:
        if not gpus:
            yield ()
        return
    for taken in range(min(gpus, free[0]) + 1):
        for rest in _ways(gpus - taken, free[1:]):
            yield (taken, *rest)


Score = Callable[[State, Launch, int, Layout], tuple[float, ...]]


def _random(
    state: State, _launch: Launch, _host: int, _way: Layout
) -> tuple[float, ...]:
    return (state.chance.random(),)


def _spread(state: State, _launch: Launch, host: int, way: Layout) -> tuple[float, ...]:
    return (-sum(state.free[host]), -_left(state, host, way))


def _first_fit(
    _state: State, _launch: Launch, _host: int, _way: Layout
) -> tuple[float, ...]:
    return ()


def _best_fit(
    state: State, _launch: Launch, host: int, way: Layout
) -> tuple[float, ...]:
    return (_left(state, host, way), sum(state.free[host]))


def _host_first(
    state: State, _launch: Launch, host: int, way: Layout
) -> tuple[float, ...]:
    return (sum(state.free[host]), _left(state, host, way))


def _departures(
    state: State, launch: Launch, host: int, way: Layout
) -> tuple[float, ...]:
    """Best fit by time: lengthen no group's occupation, then leave few cards.

    A group is what a request of 4 needs empty: a node, or a host of small nodes.
    """
    ends = state.ends[host]
    if state.fleet.cards_per_numa < GROUP:
        groups = [[end for node in ends for end in node]]
    else:
        groups = [node for node, taken in zip(ends, way, strict=True) if taken]
    until = max((max(group, default=state.now) for group in groups), default=0.0)
    longer, idle = max(0.0, launch.ends - until), max(0.0, until - launch.ends)
    return (10 * longer + _left(state, host, way) + idle / 10,)


def _left(state: State, host: int, way: Layout) -> int:
    return sum(f - t for f, t in zip(state.free[host], way, strict=True) if t)


POLICIES: dict[str, Score] = {
    "random": _random,
    "spread": _spread,
    "first fit": _first_fit,
    "best fit": _best_fit,
    "fullest host first": _host_first,
    "lifetimes known": _departures,
}


def refused_by(
    score: Score, fleet: Fleet, sequence: list[Launch], seed: int
) -> set[int]:
    """Return the ids that a policy refuses; ties go to the lowest host and node."""
    state = State(
        fleet,
        [[fleet.cards_per_numa] * fleet.numa_per_host for _ in range(fleet.hosts)],
        [[[] for _ in range(fleet.numa_per_host)] for _ in range(fleet.hosts)],
        random.Random(seed),
    )
    running: list[tuple[float, int, Layout]] = []
    refused = set()
    for launch in sequence:
        state.now = launch.at
        while running and running[0][0] <= launch.at:
            ends, host, way = heapq.heappop(running)
            for node, taken in enumerate(way):
                if taken:
                    state.free[host][node] += taken
                    state.ends[host][node].remove(ends)
        best = min(
            (
                (score(state, launch, host, way), host, way)
                for host, way in state.layouts(launch.gpus)
            ),
            key=lambda found: found[0],
            default=None,
        )
        if best is None:
            refused.add(launch.id)
            continue
        _, host, way = best
        for node, taken in enumerate(way):
            if taken:
                state.free[host][node] -= taken
                state.ends[host][node].append(launch.ends)
        heapq.heappush(running, (launch.ends, host, way))
    return refused


def refused_by_us(fleet: Fleet, sequence: list[Launch]) -> set[int]:
    """Return the ids that the product refuses."""
    events: list[dict[str, Any]] = []
    for launch in sequence:
        create = {"op": "create", "id": launch.id, "gpus": launch.gpus}
        events.append({"t": launch.at, **create})
        events.append({"t": launch.ends, "op": "delete", "id": launch.id})
    # Deletions first where times are equal, as above.
    events.sort(key=lambda event: (event["t"], event["op"] == "create"))
    shape = {
        "hosts": fleet.hosts,
        "numa_per_host": fleet.numa_per_host,
        "cards_per_numa": fleet.cards_per_numa,
    }
    lines = replay({"fleet": shape, "mix": MIX, "events": events})
    return {line["id"] for line in lines if line["host"] is None}


def refused_by_bound(fleet: Fleet, sequence: list[Launch]) -> set[int]:
    """Return the ids refused if all guests could be packed anew at every launch.

    In groups of 4 cards: a 3 goes with a 1, and 2s and 1s fill the rest exactly.
    """
    groups = fleet.hosts * fleet.cards_per_host // GROUP
    counts = dict.fromkeys(MIX, 0)
    running: list[tuple[float, int]] = []
    refused = set()
    for launch in sequence:
        while running and running[0][0] <= launch.at:
            counts[heapq.heappop(running)[1]] -= 1
        counts[launch.gpus] += 1
        small = 2 * counts[2] + max(0, counts[1] - counts[3])
        if counts[4] + counts[3] + -(-small // GROUP) > groups:
            counts[launch.gpus] -= 1
            refused.add(launch.id)
        else:
            heapq.heappush(running, (launch.ends, launch.gpus))
    return refused


def percent_refused(refused: set[int], sequence: list[Launch], size: int) -> float:
    asked = [x.id for x in sequence if x.gpus == size and x.at > WARM_UP]
    return 100 * len(refused.intersection(asked)) / len(asked)


def cards_refused(refused: set[int], sequence: list[Launch]) -> float:
    asked = [x for x in sequence if x.at > WARM_UP]
    lost = sum(x.gpus for x in asked if x.id in refused)
    return 100 * lost / sum(x.gpus for x in asked)


def compare(fleet: Fleet, seeds: range) -> None:
    rows: dict[str, list[list[float]]] = {}
    for seed in seeds:
        sequence = launches(fleet, seed)
        results = {
            name: refused_by(score, fleet, sequence, seed)
            for name, score in POLICIES.items()
        }
        results["ours"] = refused_by_us(fleet, sequence)
        results["bound, repacks all"] = refused_by_bound(fleet, sequence)
        for name, refused in results.items():
            figures = [percent_refused(refused, sequence, size) for size in MIX]
            figures.append(cards_refused(refused, sequence))
            rows.setdefault(name, []).append(figures)
    _print(fleet, seeds, rows)


def _print(fleet: Fleet, seeds: range, rows: dict[str, list[list[float]]]) -> None:
    print(
        f"\n{fleet.hosts} hosts of {fleet.numa_per_host} x {fleet.cards_per_numa} cards, "
        f"{len(seeds)} seeds: percent refused of requests for 1, 2, 3, 4 cards; of cards"
    )
    for name, figures in rows.items():
        means = [statistics.mean(column) for column in zip(*figures, strict=True)]
        print(f"  {name:<20}" + "".join(f"{mean:8.2f}" for mean in means))
    fours = {name: [row[3] for row in figures] for name, figures in rows.items()}
    saved = [b - o for b, o in zip(fours["best fit"], fours["ours"], strict=True)]
    gap = statistics.mean(fours["best fit"]) - statistics.mean(
        fours["bound, repacks all"]
    )
    error = statistics.stdev(saved) / len(saved) ** 0.5 if len(saved) > 1 else 0.0
    print(
        f"  4 cards: ours refuses {statistics.mean(saved):.2f} points fewer than best fit "
        f"(paired, standard error {error:.2f}); "
        f"{100 * statistics.mean(saved) / gap:.0f}% of the way to the bound"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    for fleet in FLEETS:
        compare(fleet, range(1, options.seeds + 1))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
