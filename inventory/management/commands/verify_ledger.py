"""manage.py verify_ledger: replay every card's ledger and compare it with today's rows."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from inventory.ledger_audit import CHUNK_CARDS, audit, read_one_moment


class Command(BaseCommand):
    help = (
        "Replay the whole ledger and compare it with cards and claims. It changes nothing "
        "and sees one moment, so it may run while work goes on. Exit status 1 at the "
        "first difference."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--chunk",
            type=int,
            default=CHUNK_CARDS,
            metavar="CARDS",
            help=f"cards per query (default {CHUNK_CARDS})",
        )

    def handle(self, *_: Any, chunk: int, **__: Any) -> None:
        if chunk < 1:
            raise CommandError("--chunk: must be 1 or more.")
        started = time.monotonic()
        with transaction.atomic(durable=True):
            read_one_moment()
            done = audit(chunk)
        took = f"{time.monotonic() - started:.1f} s"
        if done.difference is not None:
            raise CommandError(
                f"The ledger differs: {done.difference} "
                f"({done.cards} cards looked at, {took})"
            )
        self.stdout.write(
            f"The ledger agrees: {done.cards} cards, {done.events} events, "
            f"{done.claims} claims ({took})"
        )
