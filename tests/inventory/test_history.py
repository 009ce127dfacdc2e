"""replay(): the intervals of one card's life, and the first event that cannot be."""

import random
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.choices import CARD_TRANSITIONS, CardCondition, CardEventKind
from inventory.history import (
    READY,
    CardHistory,
    Event,
    Inconsistent,
    Interval,
    Kind,
    replay,
)

START = datetime(2026, 11, 24, 8, tzinfo=UTC)
CONSUMER = uuid.UUID(int=1)


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def event(number: int, kind: Kind, before: str, after: str, **fields: object) -> Event:
    return Event(number, at(number), kind, before, after, **fields)  # type: ignore[arg-type]


def life() -> list[Event]:
    """Return a card's life: enrolled, tested, used once, moved, and ready again."""
    use = {"consumer": CONSUMER, "claim_id": 7}
    return [
        event(1, Kind.ENROLLED, "", "unverified", host_id=3, slot_path="0000:21:00"),
        event(2, Kind.CONDITION, "unverified", "testing"),
        event(3, Kind.CONDITION, "testing", "ready"),
        event(4, Kind.CLAIMED, "ready", "ready", **use),
        event(5, Kind.RELEASED, "ready", "ready", **use),
        event(6, Kind.CONDITION, "ready", "dirty", **use),
        event(7, Kind.MOVED, "dirty", "dirty", host_id=4, slot_path="0000:41:00"),
        event(8, Kind.CONDITION, "dirty", "sanitising"),
        event(9, Kind.CONDITION, "sanitising", "testing"),
        event(10, Kind.CONDITION, "testing", "ready"),
    ]


def test_life_becomes_conditions_holders_and_places() -> None:
    history = replay(life())

    assert isinstance(history, CardHistory)
    assert history.events == 10
    assert [(c.event_id, c.condition, c.since, c.to) for c in history.conditions] == [
        (1, "unverified", at(1), at(2)),
        (2, "testing", at(2), at(3)),
        (3, "ready", at(3), at(6)),
        (6, "dirty", at(6), at(8)),
        (8, "sanitising", at(8), at(9)),
        (9, "testing", at(9), at(10)),
        (10, "ready", at(10), None),
    ]
    (held,) = history.holders
    assert (held.claim_id, held.consumer, held.since, held.to) == (
        7,
        CONSUMER,
        at(4),
        at(5),
    )
    assert (held.event_id, held.end_event_id) == (4, 5)
    assert history.holder is None
    assert [(p.host_id, p.slot_path, p.since, p.to) for p in history.places] == [
        (3, "0000:21:00", at(1), at(7)),
        (4, "0000:41:00", at(7), None),
    ]


def test_claim_that_is_not_released_is_the_holder() -> None:
    history = replay(life()[:4])

    assert isinstance(history, CardHistory)
    assert history.holder is not None
    assert (history.holder.claim_id, history.holder.to) == (7, None)


def test_enrolment_of_old_leaves_the_place_unknown_until_a_move() -> None:
    enrolled = event(1, Kind.ENROLLED, "", "unverified")
    moved = event(
        2, Kind.MOVED, "unverified", "unverified", host_id=4, slot_path="0000:41:00"
    )

    history = replay([enrolled, moved])

    assert isinstance(history, CardHistory)
    assert [(p.host_id, p.since, p.to) for p in history.places] == [
        (None, at(1), at(2)),
        (4, at(2), None),
    ]


def test_no_event_at_all_is_inconsistent() -> None:
    assert replay([]) == Inconsistent(None, "first event", "enrolled", "none")


def test_history_knows_the_words_of_the_rows() -> None:
    assert list(Kind) == CardEventKind.values
    assert READY == CardCondition.READY


OTHER = uuid.UUID(int=2)
RULES: dict[str, tuple[int, dict[str, object], Inconsistent]] = {
    "starts with another": (
        1,
        {"kind": "condition"},
        Inconsistent(1, "first event", "enrolled", "condition"),
    ),
    "starts from a condition": (
        1,
        {"from_condition": "ready"},
        Inconsistent(1, "from_condition", "none", "ready"),
    ),
    "is enrolled without a slot": (
        1,
        {"slot_path": ""},
        Inconsistent(1, "place", "a host and a slot", "host 3, slot None"),
    ),
    "is enrolled twice": (
        2,
        {"kind": "enrolled"},
        Inconsistent(2, "later event", "anything else", "enrolled"),
    ),
    "comes from another condition": (
        3,
        {"from_condition": "dirty"},
        Inconsistent(3, "from_condition", "testing", "dirty"),
    ),
    "changes to no condition": (
        3,
        {"to_condition": ""},
        Inconsistent(3, "to_condition", "a condition", "none"),
    ),
    "changes to the same condition": (
        3,
        {"to_condition": "testing"},
        Inconsistent(3, "to_condition", "another than testing", "testing"),
    ),
    "changes the condition by a claim": (
        4,
        {"to_condition": "dirty"},
        Inconsistent(4, "to_condition", "ready", "dirty"),
    ),
    "claims for nobody": (
        4,
        {"consumer": None},
        Inconsistent(4, "claim", "a claim and its consumer", "claim 7 of None"),
    ),
    "releases a claim of another": (
        5,
        {"consumer": OTHER},
        Inconsistent(
            5, "released claim", f"claim 7 of {CONSUMER}", f"claim 7 of {OTHER}"
        ),
    ),
    "releases another claim": (
        5,
        {"claim_id": 8},
        Inconsistent(
            5, "released claim", f"claim 7 of {CONSUMER}", f"claim 8 of {CONSUMER}"
        ),
    ),
    "claims what is held": (
        5,
        {"kind": "claimed", "claim_id": 8},
        Inconsistent(5, "holder", "the release of claim 7", f"claim 8 of {CONSUMER}"),
    ),
    "releases what nobody holds": (
        4,
        {"kind": "released"},
        Inconsistent(4, "released claim", "none", f"claim 7 of {CONSUMER}"),
    ),
    "moves to no host": (
        7,
        {"host_id": None},
        Inconsistent(7, "place", "a host and a slot", "host None, slot 0000:41:00"),
    ),
    "runs backwards": (
        8,
        {"at": at(6)},
        Inconsistent(8, "time", f"{at(7).isoformat()} or later", at(6).isoformat()),
    ),
    "is of an unknown kind": (
        9,
        {"kind": "sold"},
        Inconsistent(
            9,
            "kind",
            "enrolled or condition or claimed or held or taken_up or adopted or "
            "released or moved",
            "sold",
        ),
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_event_that_cannot_be_is_named(rule: str) -> None:
    number, fields, expected = RULES[rule]
    events = life()
    events[number - 1] = replace(events[number - 1], **fields)  # type: ignore[arg-type]

    assert replay(events) == expected


def test_claim_on_a_card_that_is_not_ready_is_named() -> None:
    claimed = event(11, Kind.CLAIMED, "dirty", "dirty", consumer=CONSUMER, claim_id=8)

    found = replay([*life()[:6], claimed])

    assert found == Inconsistent(11, "condition of a claimed card", "ready", "dirty")


def test_claim_that_is_claimed_twice_is_named() -> None:
    again = event(11, Kind.CLAIMED, "ready", "ready", consumer=CONSUMER, claim_id=7)

    found = replay([*life(), again])

    assert found == Inconsistent(11, "claim", "a new claim", f"claim 7 of {CONSUMER}")


def walk(seed: int, steps: int) -> list[Event]:
    """Return the ledger of a card that goes through `steps` random permitted steps."""
    choose = random.Random(seed)  # noqa: S311 - a test's
    now, condition, held, claims = START, "unverified", None, 0
    events = [
        Event(1, now, "enrolled", "", condition, host_id=1, slot_path="0000:21:00")
    ]
    for number in range(2, steps + 2):
        now += timedelta(seconds=choose.choice([0, 1, 60]))
        nexts = [
            to
            for to in sorted(CARD_TRANSITIONS[CardCondition(condition)])
            if not (held and to in ("sanitising", "testing", "retired"))
        ]
        kinds = ["moved"] + ["condition"] * bool(nexts) + ["released"] * bool(held)
        kinds += ["claimed"] * (condition == "ready" and not held)
        kind, after, fields = choose.choice(kinds), condition, {}
        if kind == "moved":
            fields = {"host_id": choose.randint(1, 3), "slot_path": f"0000:{number}:00"}
        elif kind == "condition":
            after = choose.choice(nexts)
        elif kind == "claimed":
            claims += 1
            held = fields = {"claim_id": claims, "consumer": uuid.UUID(int=claims)}
        else:
            fields, held = held or {}, None
        events.append(Event(number, now, kind, condition, after, **fields))  # type: ignore[arg-type]
        condition = after
    return events


lives = st.builds(walk, st.integers(0, 2**32), st.integers(0, 40))


@given(lives)
def test_conditions_and_places_tile_the_life(events: list[Event]) -> None:
    history = replay(events)

    assert isinstance(history, CardHistory)
    for tiles in (history.conditions, history.places):
        assert tiles[0].since == events[0].at
        assert [tile.to for tile in tiles[:-1]] == [tile.since for tile in tiles[1:]]
        assert tiles[-1].to is None
    for before, after in zip(history.holders, history.holders[1:], strict=False):
        assert before.to is not None
        assert before.since <= before.to <= after.since
    assert history.conditions[-1].condition == events[-1].to_condition


@given(lives)
def test_every_moment_has_the_state_of_the_last_event_before(
    events: list[Event],
) -> None:
    history = replay(events)
    assert isinstance(history, CardHistory)

    for moment in {event.at for event in events}:
        last = [event for event in events if event.at <= moment]
        claims = [e for e in last if e.kind in ("claimed", "released")]
        held = (
            {claims[-1].claim_id} if claims and claims[-1].kind == "claimed" else set()
        )
        places = [e for e in last if e.host_id is not None]

        def holding(tiles: tuple[Interval, ...], moment: datetime = moment) -> list:
            return [tile for tile in tiles if tile.holds(moment)]

        (condition,) = holding(history.conditions)
        (place,) = holding(history.places)
        assert condition.condition == last[-1].to_condition
        assert (place.host_id, place.slot_path) == (
            places[-1].host_id,
            places[-1].slot_path,
        )
        assert {h.claim_id for h in holding(history.holders)} == held


@given(lives, st.data())
def test_every_lost_condition_or_claim_is_found(
    events: list[Event], data: st.DataObject
) -> None:
    """A gap in the ledger shows in what follows, or in what the history ends with."""
    number = data.draw(st.integers(0, len(events) - 1))
    whole = replay(events)

    found = replay(events[:number] + events[number + 1 :])

    assert isinstance(whole, CardHistory)
    if isinstance(found, CardHistory):
        assert found != whole
    else:
        assert found.event_id is None or found.event_id > events[number].event_id


@given(lives, st.data())
def test_swapped_events_are_found(events: list[Event], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, max(0, len(events) - 2)))
    pair = events[number : number + 2]
    if len(pair) < 2 or pair[0].at == pair[1].at:
        return

    found = replay([*events[:number], *reversed(pair), *events[number + 2 :]])

    assert isinstance(found, Inconsistent)
    assert found.event_id in {event.event_id for event in pair}
