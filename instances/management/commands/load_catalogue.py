"""manage.py load_catalogue: add the regions, GPU models, plans and images that are missing."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from instances.catalogue_loader import load


class Command(BaseCommand):
    help = "Add what is missing of the catalogue; rows that exist are left as they are."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--lab",
            action="store_true",
            help="also plans and images for the virtual GPU host (never in production)",
        )

    def handle(self, *_: Any, lab: bool, **__: Any) -> None:
        for kind, count in load(lab=lab).items():
            self.stdout.write(f"{kind}: {count} added")
