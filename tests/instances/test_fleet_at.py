"""fleet_at: the fleet of any moment, by the ledger alone, and whose each card was."""

import csv
import uuid
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from instances.fleet_owners import Owner, owners_of
from instances.models import Account, Instance
from inventory import ledger
from inventory.choices import CardCondition, CardEventKind
from inventory.fleet_history import CardThen, fleet_at
from inventory.free_host import free_host
from inventory.history import CardHistory, Event, Interval, replay
from inventory.ledger import Actor, change_condition, record_place
from inventory.models import Card, CardEvent, Host
from inventory.topology import NodeShare
from tests.builders import (
    make_account,
    make_card,
    make_host,
    make_image,
    make_plan,
    make_region,
)
from tests.inventory.test_verify_ledger import no_guards

pytestmark = pytest.mark.django_db
ACTOR = Actor("user:tester", "a test")
HEADER = (
    "card,region,host,slot,condition,account id,account,instance id,instance,consumer"
)


def make_instance(account: Account | None = None, label: str = "train") -> Instance:
    return Instance.objects.create(
        account=account or make_account(),
        plan=make_plan(),
        region=make_region(),
        image=make_image(),
        label=label,
        created_by="user:tester",
    )


def take(card: Card, consumer: uuid.UUID) -> datetime:
    """Claim the card and return a moment at which it is held."""
    share = NodeShare(0, (card.pk,), (0,), 1, 256)
    with transaction.atomic():
        ledger.claim(
            free_host(ledger.lock_host(card.host_id).pk), [share], consumer, ACTOR
        )
    return ledger.clock()


def give(consumer: uuid.UUID) -> datetime:
    """Release what the consumer holds and return a moment at which it is released."""
    with transaction.atomic():
        ledger.release(consumer, ACTOR)
    return ledger.clock()


def printed(moment: datetime, **options: Any) -> tuple[list[str], list[str]]:
    """Return the lines of standard output and error."""
    out, err = StringIO(), StringIO()
    call_command("fleet_at", moment.isoformat(), stdout=out, stderr=err, **options)
    return out.getvalue().splitlines(), err.getvalue().splitlines()


def test_fleet_before_the_first_enrolment_is_empty() -> None:
    before = ledger.clock()
    make_host()

    assert fleet_at(before) == []


def test_card_has_its_place_condition_and_holder_of_that_moment() -> None:
    host = make_host(cards_per_node=(1,))
    other = make_host(cards_per_node=(0,))
    card, consumer = host.cards.get(), uuid.uuid4()
    slot = card.slot_path
    ready = ledger.clock()
    held = take(card, consumer)
    released = give(consumer)
    card.refresh_from_db()
    card.host, card.slot_path = other, "0000:41:00"
    card.save()
    record_place(card, CardEventKind.MOVED, ACTOR)

    def then(moment: datetime) -> CardThen:
        (found,) = fleet_at(moment)
        return found

    region = "us-east"
    assert then(ready) == CardThen(card.pk, region, host.name, slot, "ready", None)
    assert then(held) == CardThen(card.pk, region, host.name, slot, "ready", consumer)
    assert then(released) == CardThen(card.pk, region, host.name, slot, "dirty", None)
    assert then(ledger.clock()) == CardThen(
        card.pk, region, other.name, "0000:41:00", "dirty", None
    )


def test_event_of_that_very_moment_counts() -> None:
    card = make_host(cards_per_node=(1,)).cards.get()
    take(card, uuid.uuid4())
    claim = card.claims.get()

    (then,) = fleet_at(claim.claimed_at)
    (before,) = fleet_at(claim.claimed_at - timedelta(microseconds=1))

    assert (then.consumer, before.consumer) == (claim.consumer, None)


def test_report_agrees_with_the_replay_at_every_event() -> None:
    host = make_host(cards_per_node=(2,))
    first, second = host.cards.order_by("pk")
    for _ in range(2):
        consumer = uuid.uuid4()
        take(second, consumer)
        change_condition(
            Card.objects.get(pk=second.pk), CardCondition.QUARANTINED, ACTOR
        )
        give(consumer)
        second = make_card(host.nodes.get(), f"0000:{0x50 + _:02x}:00")
    change_condition(first, CardCondition.UNVERIFIED, ACTOR)
    histories = {card.pk: history_of(card) for card in host.cards.all()}

    for moment in CardEvent.objects.values_list("at", flat=True):
        assert {card.card_id: card for card in fleet_at(moment)} == {
            pk: then_of(pk, history, moment, host)
            for pk, history in histories.items()
            if history.places[0].since <= moment
        }


def history_of(card: Card) -> CardHistory:
    rows = card.events.order_by("pk").values_list(
        "pk",
        "at",
        "kind",
        "from_condition",
        "to_condition",
        "consumer",
        "claim_id",
        "host_id",
        "slot_path",
    )
    history = replay(Event(*row) for row in rows)
    assert isinstance(history, CardHistory)
    return history


def then_of(pk: int, history: CardHistory, moment: datetime, host: Host) -> CardThen:
    def holding(intervals: tuple[Interval, ...]) -> list[Any]:
        return [interval for interval in intervals if interval.holds(moment)]

    (condition,) = holding(history.conditions)
    (place,) = holding(history.places)
    holders = holding(history.holders)
    return CardThen(
        card_id=pk,
        region=host.region.slug,
        host=host.name,
        slot_path=place.slot_path,
        condition=condition.condition,
        consumer=holders[0].consumer if holders else None,
    )


def test_one_query_gives_the_fleet_of_any_size(django_assert_num_queries: Any) -> None:
    for _ in range(5):
        make_host()
    now = ledger.clock()

    with django_assert_num_queries(1):
        assert len(fleet_at(now)) == 20


def test_owner_of_an_instance_that_has_ended_is_still_known() -> None:
    account = make_account("Acme")
    instance = make_instance(account)
    Instance.objects.filter(pk=instance.pk).update(
        phase="deleted", ended_at=ledger.clock()
    )

    assert owners_of([instance.uuid, uuid.uuid4()]) == {
        instance.uuid: Owner(account.pk, "Acme", instance.pk, "train")
    }


def test_table_names_the_account_and_ends_with_the_totals() -> None:
    host = make_host("gpu1", cards_per_node=(2,))
    first, second = host.cards.order_by("pk")
    instance = make_instance(make_account("Acme"))
    held = take(first, instance.uuid)
    give(instance.uuid)

    out, err = printed(held)

    assert [line.split() for line in out[1:3]] == [
        [
            str(first.pk),
            "us-east",
            "gpu1",
            first.slot_path,
            "ready",
            str(instance.account_id),
            "Acme",
            str(instance.pk),
            "train",
            str(instance.uuid),
        ],
        [str(second.pk), "us-east", "gpu1", second.slot_path, "ready"],
    ]
    assert out[3:] == [
        "",
        f"At {held.isoformat()}: total 2, used 1",
        "unverified: 0",
        "ready: 2",
        "dirty: 0",
        "sanitising: 0",
        "testing: 0",
        "quarantined: 0",
        "missing: 0",
        "retired: 0",
        "on hosts that did not answer: 0, used 0",
    ]
    assert err == []


def test_csv_has_cards_only_and_the_totals_go_to_standard_error() -> None:
    card = make_host("gpu1", cards_per_node=(1,)).cards.get()
    now = ledger.clock()

    out, err = printed(now, layout="csv")

    assert out == [HEADER, f"{card.pk},us-east,gpu1,{card.slot_path},ready,,,,,"]
    assert err[0] == f"At {now.isoformat()}: total 1, used 0"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_cell_that_begins_like_a_formula_is_escaped(start: str) -> None:
    card = make_host(cards_per_node=(1,)).cards.get()
    name = f"{start}HYPERLINK(1)"
    instance = make_instance(make_account(name), label=name)
    held = take(card, instance.uuid)
    out = StringIO()

    call_command(
        "fleet_at", held.isoformat(), "--format=csv", stdout=out, stderr=StringIO()
    )

    (row,) = csv.DictReader(StringIO(out.getvalue(), newline=""))
    assert (row["account"], row["instance"]) == (f"'{name}", f"'{name}")


def test_name_with_control_characters_cannot_disturb_the_table() -> None:
    card = make_host(cards_per_node=(1,)).cards.get()
    instance = make_instance(make_account("Ac\x1b[2Jme\n"))

    out, _ = printed(take(card, instance.uuid))

    assert "  Ac?[2Jme?  " in out[1]


def test_region_leaves_out_the_others() -> None:
    make_host(cards_per_node=(2,))
    west = make_host(cards_per_node=(1,), region=make_region("us-west")).cards.get()

    now = ledger.clock()
    out, err = printed(now, region="us-west")

    assert [line.split()[0] for line in out[1:2]] == [str(west.pk)]
    assert f"At {now.isoformat()} in us-west: total 1, used 0" in out
    assert err == []


def test_cards_of_unknown_place_are_told_of() -> None:
    card = make_host(cards_per_node=(1,)).cards.get()
    with no_guards():
        Card.objects.filter(pk=card.pk).update(slot_path="0000:99:00")
    old = Card.objects.create(
        host=card.host,
        numa_node=card.numa_node,
        gpu_model=card.gpu_model,
        identity="of old",
        identity_is_weak=True,
        slot_path="0000:98:00",
    )
    CardEvent.objects.create(
        card=old, at=ledger.clock(), kind="enrolled", to_condition="unverified"
    )
    now = ledger.clock()

    whole, _ = printed(now)
    regional, err = printed(now, region="us-east")

    assert [
        line.split()[:5] for line in whole[1:3] if line.startswith(str(old.pk))
    ] == [[str(old.pk), "unknown", "unknown", "unknown", "unverified"]]
    assert [line.split()[0] for line in regional[1:2]] == [str(card.pk)]
    assert regional[2] == ""
    assert err == ["1 cards are left out: the ledger does not tell where they were."]


def test_holder_that_is_no_instance_is_an_error_after_the_report() -> None:
    card = make_host(cards_per_node=(1,)).cards.get()
    consumer = uuid.uuid4()
    held = take(card, consumer)
    out = StringIO()

    with pytest.raises(CommandError) as caught:
        call_command("fleet_at", held.isoformat(), stdout=out)

    assert str(caught.value) == (
        f"1 used cards have no account, the first is card {card.pk}, held by {consumer}."
    )
    assert out.getvalue().splitlines()[1].split()[5:] == ["unknown"] * 4 + [
        str(consumer)
    ]


@pytest.mark.parametrize(
    "text",
    ["yesterday", "2026-13-01T00:00:00", "08:00", "", "0001-01-01T00:00:00+14:00"],
)
def test_time_that_is_none_names_the_argument(text: str) -> None:
    with pytest.raises(CommandError) as caught:
        call_command("fleet_at", text)

    assert str(caught.value) == (
        f"TIME: {text!r} is no time; write it as 2026-11-24T08:00:00 (UTC unless it "
        "names an offset)."
    )


def test_time_in_the_future_is_refused() -> None:
    with pytest.raises(
        CommandError, match=r"^TIME: 9999-01-01T00:00:00\+00:00 lies in "
    ):
        call_command("fleet_at", "9999-01-01")


def test_time_without_an_offset_is_utc() -> None:
    make_host(cards_per_node=(1,))
    local = datetime.now(UTC) - timedelta(days=1)
    outs = []

    for text in (f"{local:%Y-%m-%dT%H:%M:%S}", f"{local:%Y-%m-%dT%H:%M:%S}+00:00"):
        out = StringIO()
        call_command("fleet_at", text, stdout=out)
        outs.append(out.getvalue())

    assert outs[0] == outs[1]
    assert f"At {local:%Y-%m-%dT%H:%M:%S}+00:00: total 0, used 0" in outs[0]


def test_region_that_is_none_names_the_argument_and_the_regions() -> None:
    make_region("us-east")
    make_region("us-west")

    with pytest.raises(CommandError) as caught:
        call_command("fleet_at", "2026-01-01", region="mars")

    assert str(caught.value) == (
        "--region: 'mars' is no region; those are us-east, us-west."
    )
