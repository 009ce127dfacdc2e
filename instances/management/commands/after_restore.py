"""manage.py after_restore: make a database that was restored from a backup safe to use."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from instances.restored import settle

GAP = 1_000_000


class Command(BaseCommand):
    help = (
        "To be run once after a database was restored from a backup, before web servers and "
        "workers start: nothing is sold before its host was looked at, every free card is "
        "scrubbed, open jobs end, and no number is given twice. docs/recovery.md."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--yes",
            action="store_true",
            help="no worker and no web server uses this database now",
        )
        parser.add_argument(
            "--gap",
            type=int,
            default=GAP,
            help=f"how far id counters are put forward (usually {GAP})",
        )

    def handle(self, *_: Any, yes: bool, gap: int, **__: Any) -> None:
        if not yes:
            raise CommandError(
                "--yes is missing: stop all web servers and workers first, then give it."
            )
        if gap < 1:
            raise CommandError("--gap: must be 1 or more.")
        done = settle(gap)
        self.stdout.write(
            f"{done.hosts} hosts are unknown until they were looked at, {done.cards} cards "
            f"are to be scrubbed, {done.reservations} reservations and {done.jobs} open "
            f"jobs ended, {done.sequences} counters were put forward by {gap}, "
            f"{done.sessions} sessions ended.\n"
            "Next: manage.py reconcile, then decide about each discrepancy in the admin."
        )
