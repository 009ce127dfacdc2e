"""manage.py what_if REGION ...: print what could be sold before and after a change."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from instances.models import Plan
from instances.what_if import InvalidWhatIf, Outcome, WhatIf, plan_of, what_if
from inventory.ledger_audit import read_one_moment
from inventory.models import Region


class Command(BaseCommand):
    help = (
        "Print how many of each sold plan fit in REGION now and after the changes named, "
        "all at once. Nothing is written."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("region", metavar="REGION", help="such as us-east")
        parser.add_argument("--add-hosts", type=int, default=0, metavar="N")
        parser.add_argument(
            "--like", default="", metavar="HOST", help="what the new hosts are like"
        )
        parser.add_argument("--drain", action="append", default=[], metavar="HOST")
        parser.add_argument(
            "--quarantine", action="append", default=[], type=int, metavar="CARD_ID"
        )
        parser.add_argument(
            "--plan",
            default="",
            help="a new plan: 'cards=2 gpu_model=rtx6000 vcpus=8 memory_mib=65536'",
        )
        parser.add_argument("--json", action="store_true", help="one line per plan")

    def handle(self, *_: Any, **options: Any) -> None:
        region = Region.objects.filter(slug=options["region"]).first()
        if region is None:
            slugs = ", ".join(Region.objects.values_list("slug", flat=True)) or "none"
            raise CommandError(
                f"REGION: {options['region']!r} is no region; those are {slugs}."
            )
        if options["add_hosts"] < 0:
            raise CommandError("--add-hosts: write a number of at least 0.")
        try:
            with transaction.atomic():
                read_one_moment()
                rows = what_if(region, _plans(), _asked(options))
        except InvalidWhatIf as error:
            raise CommandError(f"--{error.field}: {error}") from error
        for line in map(_json, rows) if options["json"] else _table(rows):
            self.stdout.write(line)


def _plans() -> list[Plan]:
    return list(Plan.objects.filter(is_sold=True).select_related("gpu_model"))


def _asked(options: dict[str, Any]) -> WhatIf:
    return WhatIf(
        add_hosts=options["add_hosts"],
        like=options["like"],
        drain=tuple(options["drain"]),
        quarantine=tuple(options["quarantine"]),
        plan=plan_of(options["plan"]) if options["plan"] else None,
    )


def _json(row: Outcome) -> str:
    return json.dumps(asdict(row))


def _table(rows: list[Outcome]) -> list[str]:
    width = max([len("plan"), *(len(row.plan) for row in rows)])
    lines = [f"{'plan':<{width}}  before   after  change"]
    for row in rows:
        before = "-" if row.before is None else row.before
        lines.append(
            f"{row.plan:<{width}}  {before:>6}  {row.after:>6}  {row.change:>+6}"
        )
    return lines
