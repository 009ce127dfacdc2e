"""manage.py mail_reports: mail a week's reports now, besides the weekly mail."""

from argparse import ArgumentParser
from datetime import date
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from instances import report_mail
from inventory.ledger import clock


class Command(BaseCommand):
    help = (
        "Mail the reports of a week now, whether or not the weekly mail was sent. Without "
        "--to: to GPUCLOUD_REPORT_MAIL_TO. With --show: print the mail and send nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--to", nargs="+", help="Addresses.")
        parser.add_argument(
            "--week", type=date.fromisoformat, help="A day of it, as 2026-11-18."
        )
        parser.add_argument("--show", action="store_true")

    def handle(self, *_: Any, **options: Any) -> None:
        day: date | None = options["week"]
        week = report_mail.monday(day) if day else report_mail.last_week(clock())
        if options["show"]:
            self.stdout.write(report_mail.body(week))
            return
        addresses = options["to"] or settings.REPORT_MAIL_TO
        if not settings.EMAIL_HOST:
            raise CommandError("Set GPUCLOUD_MAIL_URL: there is no mail server.")
        if not addresses:
            raise CommandError("Name --to, or set GPUCLOUD_REPORT_MAIL_TO.")
        try:
            report_mail.send(week, addresses)
        except OSError as error:
            raise CommandError(f"The mail server did not take it: {error}") from error
        self.stdout.write(f"Mailed the week from {week} to {', '.join(addresses)}")
