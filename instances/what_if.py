"""What could be sold after a change to the fleet; asked of a snapshot, nothing is written."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from instances.capacity import rooms_of, sellable_in
from instances.demand import NumaPolicy, Request
from instances.models import Plan
from instances.selectors import request_of
from inventory.host_contents import HostContents, Supposition
from inventory.models import Card, GpuModel, Host, Region
from inventory.shape import HostRoom, room_in, room_of
from inventory.snapshots import accepting_hosts, contents_of

NEW_PLAN = gettext_lazy("new plan")


_NUMBERS = ("cards", "vcpus", "memory_mib", "numa_nodes", "hugepage_kib")
_WORDS = ("gpu_model", "numa_policy")


class InvalidWhatIf(ValueError):
    """The question is wrong. field: which of WhatIf's."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Supposed changes, all at once. like, drain: host names. quarantine: card ids.

    add_hosts: how many more like the host `like`, with every card ready. plan: a plan that
    is not sold yet.
    """

    add_hosts: int = 0
    like: str = ""
    drain: tuple[str, ...] = ()
    quarantine: tuple[int, ...] = ()
    plan: Request | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many of a plan fit. before: None for a plan that is supposed."""

    plan: str
    before: int | None
    after: int

    @property
    def change(self) -> int:
        return self.after - (self.before or 0)


def plan_of(text: str) -> Request:
    """Read a plan, such as "cards=2 gpu_model=rtx6000 vcpus=8 memory_mib=65536".

    Also numa_policy, numa_nodes and hugepage_kib. Raises InvalidWhatIf.
    """
    given: dict[str, str] = {}
    for word in text.split():
        name, __, value = word.partition("=")
        if name not in (*_NUMBERS, *_WORDS):
            known = ", ".join((*_NUMBERS, *_WORDS))
            raise InvalidWhatIf(
                "plan",
                _("%(name)s is none of %(known)s.")
                % {"name": f"{name!r}", "known": known},
            )
        given[name] = value
    numbers = {name: _number(name, given.get(name, "0")) for name in _NUMBERS}
    policy = given.get("numa_policy", NumaPolicy.PREFERRED)
    if policy not in list(NumaPolicy):
        raise InvalidWhatIf(
            "plan",
            _("numa_policy is one of %(known)s.") % {"known": ", ".join(NumaPolicy)},
        )
    plan = Plan(
        slug="new",
        label="new",
        gpu_model=GpuModel.objects.filter(slug=given.get("gpu_model", "")).first(),
        numa_policy=policy,
        disk_mib=0,
        price_hourly=0,
        price_monthly=0,
        **numbers,
    )
    try:
        plan.full_clean(validate_unique=False)
    except ValidationError as error:
        raise InvalidWhatIf("plan", " ".join(error.messages)) from error
    return request_of(plan)


def _number(name: str, text: str) -> int:
    if not text.isdecimal():
        raise InvalidWhatIf(
            "plan", _("%(given)s: write a whole number.") % {"given": f"{name}={text}"}
        )
    return int(text)


def what_if(region: Region, plans: Iterable[Plan], asked: WhatIf) -> list[Outcome]:
    """Return what fits before and after, by plan, in the order of `plans`.

    Raises InvalidWhatIf. It reads only, in the caller's transaction, which sees one moment
    (read_one_moment). At most fifteen queries.
    """
    before = rooms_of(region)
    after = _suppose(region, before, asked)
    requests = {plan.slug: request_of(plan) for plan in plans}
    rows = [
        Outcome(slug, sellable_in(request, before), sellable_in(request, after))
        for slug, request in requests.items()
    ]
    if asked.plan is not None:
        rows.append(Outcome(str(NEW_PLAN), None, sellable_in(asked.plan, after)))
    return rows


def _suppose(
    region: Region, before: Counter[HostRoom], asked: WhatIf
) -> Counter[HostRoom]:
    after = Counter(before)
    drained = _hosts(region, asked.drain)
    barred = _barred(region, asked.quarantine)
    accepting = accepting_hosts().filter(pk__in={*drained, *barred})
    shapes = dict(accepting.values_list("pk", "free_shape"))
    for contents in _contents(shapes):
        after[room_in(shapes[contents.host_id])] -= 1
        if contents.host_id not in drained:
            cards = Supposition(barred=frozenset(barred[contents.host_id]))
            after[room_of(contents.snapshot(cards))] += 1
    if asked.add_hosts:
        if not asked.like:
            raise InvalidWhatIf("like", _("Name a host that the new ones are like."))
        (like,) = _contents(_hosts(region, (asked.like,), "like"))
        after[room_of(like.snapshot(Supposition(is_new=True)))] += asked.add_hosts
    return after


def _contents(host_ids: Iterable[int]) -> list[HostContents]:
    return contents_of(Host.objects.filter(pk__in=list(host_ids)))


def _hosts(region: Region, names: Iterable[str], field: str = "drain") -> set[int]:
    wanted = set(names)
    known = dict(
        Host.objects.filter(region=region, name__in=wanted).values_list("name", "pk")
    )
    for name in sorted(wanted - set(known)):
        raise InvalidWhatIf(
            field,
            _("%(host)s is no host of %(region)s.")
            % {"host": f"{name!r}", "region": region.slug},
        )
    return set(known.values())


def _barred(region: Region, card_ids: Iterable[int]) -> dict[int, set[int]]:
    wanted = set(card_ids)
    rows = Card.objects.filter(pk__in=wanted, host__region=region)
    barred: dict[int, set[int]] = {}
    for card_id, host_id in rows.values_list("pk", "host_id"):
        barred.setdefault(host_id, set()).add(card_id)
        wanted.discard(card_id)
    for card_id in sorted(wanted):
        raise InvalidWhatIf(
            "quarantine",
            _("%(card)s is no card of %(region)s.")
            % {"card": card_id, "region": region.slug},
        )
    return barred
