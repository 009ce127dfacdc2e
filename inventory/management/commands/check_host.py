"""manage.py check_host URI: say what keeps a host from selling its cards."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inventory.host_check import check_host
from inventory.preflight import Verdict


class Command(BaseCommand):
    help = (
        "Check a host before it is enrolled: one line for each thing, with its remedy. "
        "Exit status 1 if any fails."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("uri", help="such as qemu+tls://gpu1.example.net/system")
        parser.add_argument(
            "--start-guest",
            action="store_true",
            help="also start a tiny guest with one spare card, and remove it",
        )
        parser.add_argument(
            "--kernel",
            default="",
            metavar="PATH",
            help="its kernel, a file on the host (default: of the model's test image)",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        lines = check_host(
            options["uri"],
            start_guest=options["start_guest"],
            kernel=options["kernel"],
        )
        for line in lines:
            self.stdout.write(f"{line.verdict:<4}  {line.name}: {line.text}")
            if line.remedy:
                self.stdout.write(f"      -> {line.remedy}")
        counts = [sum(line.verdict is each for line in lines) for each in Verdict]
        told = "{} passed, {} warnings, {} failed".format(*counts)
        if counts[-1]:
            raise CommandError(told)
        self.stdout.write(told)
