"""Reports on cards: what there is, what is held over time, what is of no use, for how long."""

from collections import Counter
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db.models import Count, Q
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from instances.capacity import sellable_by_plan
from instances.models import Plan
from instances.reports.table import Asked, Cell, Table, number, percentage, share, text
from instances.stranded import stranded_cards
from inventory.choices import CLEANING_CONDITIONS, GONE_CONDITIONS, CardCondition
from inventory.fleet_history import CardThen, fleet_at
from inventory.ledger import clock
from inventory.models import Card, CardClaim, Region
from inventory.replica import reader

# What the forecast takes for the pace of sales.
PACE_DAYS = 28
# Beyond this a forecast says nothing.
_FAR_DAYS = 3650


def inventory(asked: Asked) -> Table:
    """Return cards by region, model and state, as of the moment asked for."""
    moment = asked.moment or clock()
    models = dict(Card.objects.values_list("pk", "gpu_model__slug"))
    counts: Counter[tuple[str, str, str]] = Counter()
    for card in fleet_at(moment):
        if card.condition in GONE_CONDITIONS or asked.region not in ("", card.region):
            continue
        counts[card.region, models[card.card_id], _state(card)] += 1
    states = ("used", "ready", "cleaning", "broken", "unknown")
    rows: list[tuple[Cell, ...]] = []
    for region, model in sorted({key[:2] for key in counts}):
        each = [counts[region, model, state] for state in states]
        rows.append((region or _("unknown"), model, sum(each), *each))
    return Table(
        columns=(
            text(_("Region")),
            text(_("GPU model")),
            number(_("Cards")),
            number(_("Used")),
            number(_("Ready, unused")),
            number(_("In cleaning")),
            number(_("Broken or missing")),
            number(_("Unknown")),
        ),
        rows=rows,
        remarks=(
            _(
                "As of %(moment)s UTC, by the ledger of cards; retired cards are not "
                "counted."
            )
            % {"moment": f"{moment:%Y-%m-%d %H:%M:%S}"},
            _("Used: held by an instance or a reservation."),
            _(
                "Unknown: not used, and on a host that did not answer. That is kept for "
                "%(days)s days; before, such a card counts as it was last known."
            )
            % {"days": settings.KEEP_OUTAGES_DAYS},
        ),
    )


def _state(card: CardThen) -> str:
    if card.consumer is not None:
        return "used"
    is_ready = card.condition == CardCondition.READY
    if not (is_ready or card.condition in CLEANING_CONDITIONS):
        return "broken"
    if card.is_on_silent_host:
        return "unknown"
    return "ready" if is_ready else "cleaning"


# Of each day up to now: the card-seconds that claims held, and that cards were enrolled.
_HELD = """
WITH days AS (
  SELECT day, least(day + interval '1 day', %(now)s) AS ends
  FROM generate_series(%(since)s::timestamptz, %(until)s::timestamptz, '1 day') AS day
  WHERE day < %(now)s
), lives AS (
  SELECT e.card_id,
         min(e.at) FILTER (WHERE e.kind = 'enrolled') AS begun,
         max(e.at) FILTER (WHERE e.to_condition = 'retired') AS over
  FROM inventory_cardevent e
  JOIN inventory_card c ON c.id = e.card_id JOIN inventory_host h ON h.id = c.host_id
  JOIN inventory_region r ON r.id = h.region_id
  WHERE %(region)s IN ('', r.slug)
  GROUP BY e.card_id
), held AS (
  SELECT c.card_id, c.claimed_at, coalesce(c.released_at, %(now)s) AS over,
         CASE WHEN c.is_hold THEN 'held'
              WHEN 'employee' = ANY(a.tags) THEN 'employees' ELSE 'customers' END AS who
  FROM inventory_cardclaim c
  JOIN lives USING (card_id)
  LEFT JOIN instances_instance i ON i.uuid = c.consumer
  LEFT JOIN instances_account a ON a.id = i.account_id
), sums AS (
  SELECT d.day, held.who,
         sum(extract(epoch FROM least(held.over, d.ends)
                              - greatest(held.claimed_at, d.day))) AS seconds
  FROM days d JOIN held ON held.claimed_at < d.ends AND held.over > d.day
  GROUP BY d.day, held.who
  UNION ALL
  SELECT d.day, 'fleet',
         sum(extract(epoch FROM least(coalesce(l.over, d.ends), d.ends)
                              - greatest(l.begun, d.day)))
  FROM days d JOIN lives l
    ON l.begun < d.ends AND coalesce(l.over, d.ends) > d.day
  GROUP BY d.day
)
SELECT d.day::date, sums.who,
       (sums.seconds / extract(epoch FROM d.ends - d.day))::float8
FROM days d LEFT JOIN sums ON sums.day = d.day
ORDER BY d.day
"""


def sold(asked: Asked) -> Table:
    """Return the average of held cards of each day."""
    days: dict[date, dict[str, float]] = {}
    with reader().cursor() as cursor:
        cursor.execute(
            _HELD,
            {
                "since": asked.since,
                "until": asked.until,
                "now": clock(),
                "region": asked.region,
            },
        )
        for day, who, cards in cursor.fetchall():
            days.setdefault(day, {})
            if who is not None:
                days[day][who] = cards
    rows: list[tuple[Cell, ...]] = []
    for day, cards in days.items():
        parts = [cards.get(who, 0.0) for who in ("customers", "employees", "held")]
        fleet = cards.get("fleet", 0.0)
        if not rows and not fleet:
            continue
        held = (round(each, 2) for each in parts)
        rows.append((day, round(fleet, 2), *held, share(sum(parts), fleet)))
    return Table(
        columns=(
            text(_("Day (UTC)")),
            number(_("Cards in the fleet")),
            number(_("Customers'")),
            number(_("Employees'")),
            number(_("Reserved")),
            percentage(_("Held, %")),
        ),
        rows=rows,
        remarks=(
            _("Averages over the day; of today, over what has passed of it."),
            _(
                "A card counts where it stands now, and from its enrolment to its retirement."
            ),
            _("Days before the first card are left out."),
        ),
        chart=5,
    )


_HELD_LATELY = """
SELECT (SELECT sum(extract(epoch FROM coalesce(released_at, %(now)s)
                                    - greatest(claimed_at, %(since)s)))
        FROM inventory_cardclaim
        WHERE NOT is_hold AND coalesce(released_at, 'infinity') > %(since)s)::float8,
       (SELECT sum(extract(epoch FROM %(now)s - greatest(enrolled_at, %(since)s)))
        FROM inventory_card WHERE condition <> 'retired')::float8
"""


def held_share(days: int) -> float | None:
    """Return which part of the cards' time instances had lately, in %; one query.

    None without a card. Cheaper than sold(), for the first page: cards that are retired by
    now count with their claims only.
    """
    now = clock()
    with reader().cursor() as cursor:
        cursor.execute(_HELD_LATELY, {"now": now, "since": now - timedelta(days=days)})
        held, enrolled = cursor.fetchone()
    return share(held or 0.0, enrolled or 0.0)


def fragmentation(asked: Asked) -> Table:
    """Return the free cards that no plan can use now, with the reason."""
    plans = list(Plan.objects.filter(is_sold=True).select_related("gpu_model"))
    rows: list[tuple[Cell, ...]] = []
    unnamed = 0
    for region in _regions(asked):
        report = stranded_cards(region, plans)
        named = sum(each.stranded for each in report.named)
        unnamed += report.total - named
        rows += [
            (
                region.slug,
                each.host,
                each.node,
                each.model,
                each.free,
                each.stranded,
                each.reason,
            )
            for each in report.named
        ]
    remarks = [
        _("As of now. A card is of no use if it is left whichever plan is sold.")
    ]
    if unnamed:
        told = ngettext(
            "%(cards)s more such card stands on a host not named here.",
            "%(cards)s more such cards stand on hosts not named here.",
            unnamed,
        )
        remarks.append(told % {"cards": unnamed})
    return Table(
        columns=(
            text(_("Region")),
            text(_("Host")),
            number(_("Node")),
            text(_("GPU model")),
            number(_("Free cards")),
            number(_("Of no use")),
            text(_("Why")),
        ),
        rows=rows,
        remarks=tuple(remarks),
    )


def forecast(asked: Asked) -> Table:
    """Return the day on which each plan is sold out, at the pace of the last weeks."""
    now = clock()
    plans = list(
        Plan.objects.filter(is_sold=True, cards__gt=0).select_related("gpu_model")
    )
    rows: list[tuple[Cell, ...]] = []
    for region in _regions(asked):
        fits = sellable_by_plan(region, plans)
        paces = _paces(region, now)
        for plan in plans:
            pace = paces.get(plan.gpu_model_id, 0.0)
            day = _sold_out(now, fits[plan.slug], plan.cards, pace)
            rows.append((region.slug, plan.slug, fits[plan.slug], round(pace, 2), day))
    return Table(
        columns=(
            text(_("Region")),
            text(_("Plan")),
            number(_("Fit now")),
            number(_("Cards more a day")),
            text(_("Sold out on")),
        ),
        rows=rows,
        remarks=(
            _(
                "Supposes that the cards of a model held by instances go on to grow as in "
                "the last %(days)s days, that all growth is this plan's, and that no card "
                "is added. Plans with one model draw on the same cards."
            )
            % {"days": PACE_DAYS},
            _("“Not in sight”: they do not grow, or not within ten years."),
        ),
    )


def _paces(region: Region, now: datetime) -> dict[int | None, float]:
    """Return GPU model id -> cards more that instances held a day, lately."""
    before = now - timedelta(days=PACE_DAYS)
    then = Q(claimed_at__lte=before) & (Q(released_at=None) | Q(released_at__gt=before))
    rows = (
        CardClaim.objects.filter(card__host__region=region, is_hold=False)
        .order_by()
        .values_list("card__gpu_model")
        .annotate(
            now=Count("pk", filter=Q(released_at=None)), then=Count("pk", filter=then)
        )
    )
    return {model: (held - was) / PACE_DAYS for model, held, was in rows}


def _sold_out(now: datetime, fits: int, cards: int, pace: float) -> Cell:
    if not fits:
        return now.date()
    days = fits * cards / pace if pace > 0 else _FAR_DAYS
    return _("Not in sight") if days >= _FAR_DAYS else (now + timedelta(days)).date()


def _regions(asked: Asked) -> list[Region]:
    regions = Region.objects.order_by("slug")
    return list(regions.filter(slug=asked.region) if asked.region else regions)
