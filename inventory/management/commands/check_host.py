"""manage.py check_host URI: say what keeps a host from selling its cards."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inventory.host_check import TrialOrder, check_host
from inventory.preflight import Verdict
from inventory.topology import PciAddress


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
        parser.add_argument(
            "--card",
            default="",
            metavar="ADDRESS",
            help="the card it gets, such as 0000:21:00.0 (default: a spare one)",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        order = _trial_order(options)
        lines = check_host(options["uri"], trial=order)
        for line in lines:
            self.stdout.write(f"{line.verdict:<4}  {line.name}: {line.text}")
            if line.remedy:
                self.stdout.write(f"      -> {line.remedy}")
        counts = [sum(line.verdict is each for line in lines) for each in Verdict]
        told = "{} passed, {} warnings, {} failed".format(*counts)
        if counts[-1]:
            raise CommandError(told)
        self.stdout.write(told)


def _trial_order(options: dict[str, Any]) -> TrialOrder | None:
    kernel, card = options["kernel"], options["card"]
    if not options["start_guest"]:
        if kernel or card:
            raise CommandError(
                "--kernel and --card are of the guest: add --start-guest"
            )
        return None
    try:
        slot = PciAddress.parse(card).slot_path if card else ""
    except ValueError as error:
        raise CommandError(f"--card: {error}") from error
    return TrialOrder(kernel, slot)
