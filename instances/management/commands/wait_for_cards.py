"""manage.py wait_for_cards: wait until every card that can be checked has been."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inventory.choices import CLEANING_CONDITIONS
from inventory.models import Card

_PAUSE_S = 0.5


class Command(BaseCommand):
    help = "Wait until no card is unverified, dirty or in its checks."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--timeout", type=float, default=180.0, metavar="SECONDS", dest="timeout_s"
        )

    def handle(self, *_: Any, timeout_s: float, **__: Any) -> None:
        deadline = time.monotonic() + timeout_s
        waiting = Card.objects.filter(
            condition__in=CLEANING_CONDITIONS, claims__released_at__isnull=False
        ) | Card.objects.filter(condition__in=CLEANING_CONDITIONS, claims=None)
        while count := waiting.distinct().count():
            if time.monotonic() > deadline:
                cards = ", ".join(
                    f"{card} is {card.get_condition_display()}"
                    for card in waiting.distinct().select_related("host")[:5]
                )
                raise CommandError(
                    f"{count} cards are not checked after {timeout_s:.0f} s ({cards}): "
                    "see their jobs, and that worker and watch run."
                )
            time.sleep(_PAUSE_S)
