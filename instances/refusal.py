"""Why hosts do not fit a request, grouped for people; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from instances.demand import NumaPolicy, Request
from inventory.shape import HostRoom
from inventory.words import msgid, say, say_many

_REMEMBERED = 4096
# Hosts that a page names one by one.
LISTED = 20


class Constraint(StrEnum):
    """Gravest first: the order in which a host's failures are told."""

    GPU_HOST = "gpu_host"
    CARDS = "cards"
    CARDS_ON_ONE_NODE = "cards_on_one_node"
    NODES = "nodes"
    CORES = "cores"
    MEMORY = "memory"
    HUGEPAGES = "hugepages"
    TOGETHER = "together"


_TEXTS = {
    Constraint.GPU_HOST: msgid("GPU host, kept for plans with cards"),
    Constraint.CARDS: msgid("{have} of {need} cards free"),
    Constraint.CARDS_ON_ONE_NODE: msgid(
        "no node with {need} free cards (most: {have})"
    ),
    Constraint.NODES: msgid("{have} of {need} nodes with enough free cards"),
    Constraint.CORES: msgid("{have} of {need} CPUs free beside the cards"),
    Constraint.MEMORY: msgid("{have} of {need} MiB free beside the cards"),
    Constraint.HUGEPAGES: msgid(
        "{have} of {need} MiB free in hugepages beside the cards"
    ),
    Constraint.TOGETHER: msgid("enough cards, CPUs and memory, but not side by side"),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A constraint that a host misses: it has `have`, the request needs `need`."""

    constraint: Constraint
    have: int
    need: int

    @property
    def kind(self) -> tuple[str, int]:
        """Equal for failures that people need not tell apart."""
        return (self.constraint, self.need)

    @property
    def measures(self) -> tuple[int, ...]:
        return (self.have,)

    def text(self, least: int, most: int) -> str:
        """Return the words for hosts that have from `least` to `most` of it."""
        have = _range(str(least), str(most))
        if self.constraint is Constraint.CARDS_ON_ONE_NODE:
            have = str(most)
        return say(_TEXTS[self.constraint]).format(have=have, need=self.need)

    def __str__(self) -> str:
        return self.text(self.have, self.have)


@dataclass(frozen=True, slots=True)
class Closed:
    """Hosts that accept no claims. why: such as "draining", as it is to be read.

    ages_s: for how long, the shortest and the longest; empty where that is not known.
    """

    why: str
    ages_s: tuple[int, ...] = ()

    @property
    def kind(self) -> tuple[str, int]:
        return (self.why, 0)

    @property
    def measures(self) -> tuple[int, ...]:
        return self.ages_s or (0,)

    def text(self, least: int, most: int) -> str:
        if not self.ages_s:
            return self.why
        ages = _range(age_text(least), age_text(most))
        return say("{why} for {ages}").format(why=self.why, ages=ages)

    def __str__(self) -> str:
        return self.text(min(self.measures), max(self.measures))


def _range(least: str, most: str) -> str:
    if least == most:
        return least
    return say("{least} to {most}").format(least=least, most=most)


def age_text(seconds: int) -> str:
    """Return such as "4 min": the largest unit of which there are two, or seconds."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@dataclass(frozen=True, slots=True)
class Occupied:
    """Hosts with a machine of the request's placement group. group: its label."""

    group: str

    @property
    def kind(self) -> tuple[str, int]:
        return (f"placement group {self.group}", 0)

    @property
    def measures(self) -> tuple[int, ...]:
        return (0,)

    def text(self, least: int, most: int) -> str:
        return str(self)

    def __str__(self) -> str:
        return say("another machine of placement group {group} is on it").format(
            group=self.group
        )


Reason = Failure | Closed | Occupied


@dataclass(frozen=True, slots=True)
class Refused:
    """Hosts refused for the same reasons. names: some of them, sorted; hosts: how many."""

    reasons: tuple[Reason, ...]
    hosts: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoFit:
    """Why no host fits, for staff only. groups: every host is in one of them."""

    groups: tuple[Refused, ...] = ()

    @classmethod
    def of(cls, reasons: Mapping[str, tuple[Reason, ...]]) -> "NoFit":
        """Make it of every host's reasons by its name."""
        names: dict[tuple[Reason, ...], list[str]] = {}
        for name, found in sorted(reasons.items()):
            names.setdefault(found, []).append(name)
        return cls(tuple(Refused(key, len(n), tuple(n)) for key, n in names.items()))

    @property
    def reasons(self) -> dict[str, tuple[Reason, ...]]:
        """Host name -> all its reasons, gravest first; only of hosts that are named."""
        named = {name: g.reasons for g in self.groups for name in g.names}
        return dict(sorted(named.items()))

    @property
    def unlisted(self) -> int:
        """How many hosts a page that lists the first LISTED of `reasons` leaves out."""
        hosts = sum(group.hosts for group in self.groups)
        return hosts - min(len(self.reasons), LISTED)

    def __str__(self) -> str:
        """Group hosts by their first reason: "2 hosts: 0 of 1 cards free; 1 host: ..."."""
        if not self.groups:
            return say("no host accepts instances here")
        summed: dict[tuple[str, int], _Sum] = {}
        for group in self.groups:
            first = group.reasons[0]
            summed.setdefault(first.kind, _Sum(first)).add(group)
        by_size = sorted(summed.values(), key=lambda found: -found.hosts)
        return "; ".join(map(str, by_size))


@dataclass(slots=True)
class _Sum:
    reason: Reason
    hosts: int = 0
    measures: list[int] = field(default_factory=list)

    def add(self, group: Refused) -> None:
        self.hosts += group.hosts
        self.measures += group.reasons[0].measures

    def __str__(self) -> str:
        text = self.reason.text(min(self.measures), max(self.measures))
        told = say_many("{hosts} host: {text}", "{hosts} hosts: {text}", self.hosts)
        return told.format(hosts=self.hosts, text=text)


@lru_cache(_REMEMBERED)
def failures(request: Request, room: HostRoom) -> tuple[Failure, ...]:
    """Return every constraint that a room which does not fit misses, gravest first."""
    if not (request.cards or request.on_gpu_hosts or room.is_plain):
        return (Failure(Constraint.GPU_HOST, 0, 0),)
    found = [*_cards(request, room), *_beside(request, room)]
    if not found:
        total = sum(node.cards_of(request.gpu_model) for node in room.nodes)
        found = [Failure(Constraint.TOGETHER, total, request.cards)]
    return tuple(found)


def _cards(request: Request, room: HostRoom) -> Iterable[Failure]:
    need = request.cards
    free = [node.cards_of(request.gpu_model) for node in room.nodes]
    if sum(free) < need:
        yield Failure(Constraint.CARDS, sum(free), need)
    elif request.numa_policy is NumaPolicy.SPREAD:
        width = request.numa_nodes
        able = sum(count >= need // width for count in free)
        if able < width:
            yield Failure(Constraint.NODES, able, width)
    elif need and request.widths[-1] == 1 and max(free) < need:
        yield Failure(Constraint.CARDS_ON_ONE_NODE, max(free), need)


def _beside(request: Request, room: HostRoom) -> Iterable[Failure]:
    """Judge CPUs and memory where enough cards are free, or anywhere if nowhere are."""
    may_split = request.widths[-1] > 1
    least = min(request.cards, 1) if may_split else request.cards
    nodes = [n for n in room.nodes if n.cards_of(request.gpu_model) >= least]
    nodes = nodes or list(room.nodes)
    cpus = [node.cpus for node in nodes]
    memory = [node.memory_in(request.hugepage_kib) for node in nodes]
    have_cpus = sum(cpus) if may_split else max(cpus, default=0)
    have_mib = sum(memory) if may_split else max(memory, default=0)
    if have_cpus < request.vcpus:
        yield Failure(Constraint.CORES, have_cpus, request.vcpus)
    if have_mib < request.memory_mib:
        kind = Constraint.HUGEPAGES if request.hugepage_kib else Constraint.MEMORY
        yield Failure(kind, have_mib, request.memory_mib)
