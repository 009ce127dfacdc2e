"""Tell what happened to something as one list, newest first, from rows written at the time.

Whatever the number of sources, a page of the list is one query, each source in it bounded.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any, Self
from uuid import UUID

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import (
    BigIntegerField,
    CharField,
    F,
    IntegerField,
    Model,
    Q,
    QuerySet,
    TextField,
    UUIDField,
    Value,
)
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Concat, JSONArray
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from inventory.choices import (
    CardCondition,
    CardEventKind,
    CheckKind,
    CheckOutcome,
    DiscrepancyKind,
    ReportedProblem,
)
from inventory.models import (
    Alert,
    Card,
    CardCheck,
    CardEvent,
    CardReport,
    Discrepancy,
    Host,
    HostOutage,
)

# Of one microsecond; more are no page of ours.
_MOST_SKIPPED = 10_000

Column = Combinable | str
_NOTHING, _NOBODY = Value(""), Value(None)


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened. page: (model's label, id) of the row that tells more.

    who: user:NAME, account:ID, job:ID or system:PART; empty if nobody decided it. consumer:
    the holder of claims that it is about.
    """

    at: datetime
    what: str
    why: str
    who: str
    consumer: UUID | None
    page: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of which each is a moment at its column `at`, unless that is NULL.

    Columns are names or expressions. words: says what happened, given what each of `told`
    is in the row. page_id: of the page's row; NULL for none.
    """

    rows: QuerySet[Any]
    at: str
    words: Callable[..., str]
    told: tuple[Column, ...] = ()
    why: Column = _NOTHING
    who: Column = _NOTHING
    consumer: Column = _NOBODY
    page: str = ""
    page_id: Column = "pk"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: at `at` and before, without the first `skip` of that very time."""

    at: datetime
    skip: int

    def __str__(self) -> str:
        return f"{self.at.isoformat()}~{self.skip}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what str() wrote; None for anything else."""
        moment, _, skip = text.partition("~")
        try:
            place = cls(datetime.fromisoformat(moment), int(skip))
        except ValueError:
            return None
        return place if place.at.tzinfo and 0 <= place.skip <= _MOST_SKIPPED else None


@dataclass(frozen=True, slots=True)
class Timeline:
    """The newest first. rest: where the page after this one begins; None at the end."""

    moments: tuple[Moment, ...]
    rest: Place | None


def timeline(
    sources: Sequence[Source], size: int, begin: Place | None = None
) -> Timeline:
    """Return `size` moments of all sources together, from `begin` on; one query."""
    skip = begin.skip if begin else 0
    enough = skip + size + 1
    first, *others = (
        _branch(number, source, begin)[:enough] for number, source in enumerate(sources)
    )
    rows = first.union(*others, all=True).order_by("-t_at", "t_source", "-t_key")
    found = list(rows[:enough])
    shown = found[skip : skip + size]
    rest = None
    if len(found) > skip + size:
        last = shown[-1][0]
        of_last = takewhile(lambda row: row[0] == last, reversed(found[:-1]))
        rest = Place(last, sum(1 for _ in of_last))
    return Timeline(tuple(_moment(sources, row) for row in shown), rest)


_COLUMNS = (
    *("t_at", "t_source", "t_key", "t_told"),
    *("t_why", "t_who", "t_consumer", "t_page_id"),
)


def _branch(number: int, source: Source, begin: Place | None) -> QuerySet[Any]:
    """Return the source's rows, each as _COLUMNS; the columns of a union agree in type."""
    rows = source.rows.filter(**{f"{source.at}__isnull": False})
    if begin is not None:
        rows = rows.filter(**{f"{source.at}__lte": begin.at})
    return (
        rows.order_by(f"-{source.at}", "-pk")
        .annotate(
            t_at=F(source.at),
            t_source=Value(number, IntegerField()),
            t_key=Cast("pk", BigIntegerField()),
            t_told=JSONArray(*source.told),
            t_why=Cast(source.why, TextField()),
            t_who=Cast(source.who, TextField()),
            t_consumer=Cast(source.consumer, UUIDField()),
            t_page_id=Cast(source.page_id, BigIntegerField()),
        )
        .values_list(*_COLUMNS)
    )


def _moment(sources: Sequence[Source], row: Sequence[Any]) -> Moment:
    at, number, _, told, why, who, consumer, page_id = row
    source = sources[number]
    page = (source.page, page_id) if source.page and page_id is not None else None
    return Moment(at, source.words(*told), why, who, consumer, page)


def card_sources(card: Card) -> list[Source]:
    """Return what a card's life is made of: ledger, checks, reports, observations, people."""
    return [
        Source(
            CardEvent.objects.filter(card=card),
            "at",
            _event_words,
            _EVENT,
            "reason",
            "actor",
            "consumer",
            "inventory.cardcheck",
            "check_done_id",
        ),
        Source(
            CardCheck.objects.filter(card=card),
            "finished_at",
            _check_words,
            ("kind", "outcome"),
            "finding",
            "actor",
            page="inventory.cardcheck",
        ),
        Source(
            CardReport.objects.filter(claim__card=card),
            "reported_at",
            lambda problem: (
                _("Its user says: %(problem)s")
                % {"problem": ReportedProblem(problem).label}
            ),
            ("problem",),
            "text",
            "reported_by",
            "claim__consumer",
        ),
        *observed(Discrepancy.objects.filter(card=card)),
        *_alerts(Alert.objects.filter(card=card)),
        by_hand(card, Discrepancy.objects.filter(card=card)),
    ]


# Of all that happens to its cards, what changes what the host has to sell for longer.
_GRAVE = (CardCondition.QUARANTINED, CardCondition.MISSING, CardCondition.RETIRED)
_TOLD_OF_HOST = Q(kind__in=(CardEventKind.ENROLLED, CardEventKind.MOVED)) | (
    Q(kind=CardEventKind.CONDITION)
    & (Q(to_condition__in=_GRAVE) | Q(from_condition__in=_GRAVE))
)


def host_sources(host: Host) -> list[Source]:
    """Return what a host's life is made of; its cards' claims and checks are on their pages."""
    this = Host.objects.filter(pk=host.pk)
    events = CardEvent.objects.filter(_TOLD_OF_HOST)
    on_it = Discrepancy.objects.filter(host=host)
    return [
        Source(this, "enrolled_at", lambda: _("Enrolled"), why="libvirt_uri"),
        *_outages(HostOutage.objects.filter(host=host)),
        _events_on_host(events.filter(card__host=host)),
        # Cards that were here, and went on.
        _events_on_host(events.filter(host=host).exclude(card__host=host)),
        *observed(on_it),
        *_alerts(Alert.objects.filter(Q(host=host) | Q(card__host=host))),
        by_hand(host, on_it),
    ]


def by_hand(subject: Model, related: QuerySet[Any] | None = None) -> Source:
    """Return what people did to a row, and to the related ones, by the admin's log."""
    entries = Q(
        content_type=ContentType.objects.get_for_model(subject),
        object_id=str(subject.pk),
    )
    if related is not None:
        keys = related.order_by().values_list(Cast("pk", CharField()))
        of_related = ContentType.objects.get_for_model(related.model)
        entries |= Q(content_type=of_related, object_id__in=keys)
    return Source(
        LogEntry.objects.filter(entries),
        "action_time",
        lambda about, message: (
            _("By hand, %(about)s: %(message)s")
            % {"about": about, "message": _log_words(message)}
        ),
        ("object_repr", "change_message"),
        who=Concat(Value("user:"), "user__username"),
    )


def _log_words(message: str) -> str:
    return str(LogEntry(change_message=message).get_change_message()) or _("changed")


_EVENT = ("kind", "from_condition", "to_condition", "host__name", "slot_path")


def _event_words(
    kind: str, before: str, after: str, host: str | None, slot: str
) -> str:
    if kind == CardEventKind.CONDITION:
        return f"{CardCondition(before).label} → {CardCondition(after).label}"
    label = CardEventKind(kind).label.capitalize()
    return f"{label}: {host} {slot}" if host else label


def _events_on_host(events: QuerySet[CardEvent]) -> Source:
    return Source(
        events,
        "at",
        lambda slot, *event: (
            _("Card %(slot)s: %(event)s")
            % {"slot": slot, "event": _event_words(*event)}
        ),
        ("card__slot_path", *_EVENT),
        "reason",
        "actor",
        page="inventory.card",
        page_id="card_id",
    )


def _check_words(kind: str, outcome: str) -> str:
    return f"{CheckKind(kind).label.capitalize()}: {CheckOutcome(outcome).label}"


def observed(rows: QuerySet[Discrepancy]) -> Iterable[Source]:
    """Return when differences between host and rows were found, and when they were gone."""
    for at, told in (
        ("first_seen_at", gettext_noop("Found: %(kind)s")),
        ("resolved_at", gettext_noop("Settled: %(kind)s")),
    ):
        yield Source(
            rows,
            at,
            lambda kind, told=told: _(told) % {"kind": DiscrepancyKind(kind).label},
            ("kind",),
            "detail",
            page="inventory.discrepancy",
            consumer="consumer",
        )


def _outages(rows: QuerySet[HostOutage]) -> Iterable[Source]:
    """Return when a host was found silent, having answered when, and when it was back."""
    for at, told, why in (
        ("last_seen_at", gettext_noop("Last seen before it was silent"), _NOTHING),
        ("began_at", gettext_noop("Does not answer"), "cause"),
        ("ended_at", gettext_noop("Answers again"), _NOTHING),
    ):
        yield Source(
            rows, at, lambda told=told: _(told), why=why, page="inventory.hostoutage"
        )


def _alerts(rows: QuerySet[Alert]) -> Iterable[Source]:
    for at, word, who in (
        ("raised_at", gettext_noop("Alert"), "source"),
        ("cleared_at", gettext_noop("Alert cleared"), "cleared_by"),
    ):
        yield Source(
            rows,
            at,
            lambda word=word: _(word),
            why="message",
            who=who,
            page="inventory.alert",
        )
