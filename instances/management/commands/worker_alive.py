"""manage.py worker_alive: succeed if a worker runs a task within the wait."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from instances.tasks import workers_answer


class Command(BaseCommand):
    help = "Exit 0 if a worker answers in time, 1 if none does."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--wait", type=float, default=10.0, metavar="SECONDS")

    def handle(self, *_: Any, wait: float, **__: Any) -> None:
        if not workers_answer(wait):
            raise CommandError(
                f"No worker answered within {wait:g} s. Start one: manage.py run_workers"
            )
        self.stdout.write("a worker answered")
