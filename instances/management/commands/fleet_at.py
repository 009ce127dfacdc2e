"""manage.py fleet_at TIME: print the fleet as it was, with the account of each used card."""

import csv
from collections import Counter
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from instances.fleet_owners import Owner, owners_of
from instances.spreadsheet import inert
from inventory.choices import CardCondition
from inventory.fleet_history import CardThen, fleet_at
from inventory.ledger import clock
from inventory.models import Region

_COLUMNS = (
    "card",
    "region",
    "host",
    "slot",
    "condition",
    "account id",
    "account",
    "instance id",
    "instance",
    "consumer",
)
_UNKNOWN = "unknown"


class Command(BaseCommand):
    help = (
        "Print each card as it was at TIME, by the ledger: place, condition, and the "
        "account that used it; then the totals. Exit status 1 if a used card has no "
        "account."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "time",
            metavar="TIME",
            help="such as 2026-11-24T08:00:00; UTC unless it names an offset",
        )
        parser.add_argument(
            "--region", default="", metavar="SLUG", help="such as us-east (default all)"
        )
        parser.add_argument(
            "--format",
            choices=("table", "csv"),
            default="table",
            dest="layout",
            help="csv: cards to standard output, totals to standard error",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        moment = _moment(options["time"])
        region = _region(options["region"])
        fleet = fleet_at(moment)
        cards = [card for card in fleet if region in ("", card.region)]
        owners = owners_of(card.consumer for card in cards if card.consumer)
        rows = [_row(card, owners) for card in cards]
        is_csv = options["layout"] == "csv"
        if is_csv:
            writer = csv.writer(self.stdout)
            writer.writerows([map(inert, row) for row in [_COLUMNS, *rows]])
        else:
            self._table(rows)
        told = self.stderr if is_csv else self.stdout
        for line in _totals(moment, region, cards):
            told.write(line)
        homeless = sum(not card.region for card in fleet) if region else 0
        if homeless:
            self.stderr.write(
                f"{homeless} cards are left out: the ledger does not tell where they were."
            )
        lost = [card for card in cards if card.consumer and card.consumer not in owners]
        if lost:
            raise CommandError(
                f"{len(lost)} used cards have no account, the first is card "
                f"{lost[0].card_id}, held by {lost[0].consumer}."
            )

    def _table(self, rows: list[tuple[str, ...]]) -> None:
        lines = [tuple(map(_printable, row)) for row in [_COLUMNS, *rows]]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = (f"{c:<{w}}" for c, w in zip(line, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())
        self.stdout.write("")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if timezone.is_naive(moment):
            moment = timezone.make_aware(moment)
        moment = timezone.localtime(moment)
    except (ValueError, OverflowError) as error:
        raise CommandError(
            f"TIME: {text!r} is no time; write it as 2026-11-24T08:00:00 (UTC unless it "
            "names an offset)."
        ) from error
    now = clock()
    if moment > now:
        raise CommandError(
            f"TIME: {moment.isoformat()} lies in the future; it is "
            f"{timezone.localtime(now).isoformat(timespec='seconds')}."
        )
    return moment


def _region(slug: str) -> str:
    slugs = list(Region.objects.order_by("slug").values_list("slug", flat=True))
    if slug and slug not in slugs:
        raise CommandError(
            f"--region: {slug!r} is no region; those are {', '.join(slugs) or 'none'}."
        )
    return slug


def _row(card: CardThen, owners: dict[Any, Owner]) -> tuple[str, ...]:
    owner = owners.get(card.consumer)
    told = ("", "", "", "")
    if owner is not None:
        told = (
            str(owner.account_id),
            owner.account,
            str(owner.instance_id or ""),
            owner.instance,
        )
    elif card.consumer is not None:
        told = (_UNKNOWN,) * 4
    return (
        str(card.card_id),
        card.region or _UNKNOWN,
        card.host or _UNKNOWN,
        card.slot_path or _UNKNOWN,
        card.condition,
        *told,
        str(card.consumer or ""),
    )


def _totals(moment: datetime, region: str, cards: list[CardThen]) -> list[str]:
    counts = Counter(card.condition for card in cards)
    used = sum(card.consumer is not None for card in cards)
    silent = [card for card in cards if card.is_on_silent_host]
    where = f" in {region}" if region else ""
    return [
        f"At {moment.isoformat()}{where}: total {len(cards)}, used {used}",
        *(f"{condition}: {counts[condition]}" for condition in CardCondition),
        f"on hosts that did not answer: {len(silent)}, used "
        f"{sum(card.consumer is not None for card in silent)}",
    ]


def _printable(cell: str) -> str:
    """Customers choose names: none may move the cursor of who reads this."""
    return "".join(c if c.isprintable() else "?" for c in cell)
