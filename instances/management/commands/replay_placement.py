"""manage.py replay_placement EVENTS.json: place a recorded sequence, for packing studies."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from instances.replay import InvalidReplay, replay


class Command(BaseCommand):
    help = (
        "Place the creates of EVENTS.json by the product's own policy, on a fleet in "
        "memory: one JSON line per create, in order. Format: docs/placement.md."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("events", metavar="EVENTS.json", type=Path)

    def handle(self, *_: Any, **options: Any) -> None:
        path: Path = options["events"]
        try:
            document = json.loads(path.read_text())
        except OSError as error:
            raise CommandError(f"EVENTS.json: {path}: {error.strerror}") from error
        except ValueError as error:
            raise CommandError(f"EVENTS.json: {path} is no JSON: {error}") from error
        try:
            for line in replay(document):
                self.stdout.write(json.dumps(line))
        except InvalidReplay as error:
            raise CommandError(f"EVENTS.json: {error}") from error
