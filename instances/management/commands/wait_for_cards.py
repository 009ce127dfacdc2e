"""manage.py wait_for_cards: wait until every card that can be checked has been."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Exists, OuterRef, Q

from inventory.choices import CLEANING_CONDITIONS, HostPolicy
from inventory.ledger import clock
from inventory.models import Card, CardClaim, Host

_PAUSE_S = 0.5


def _look(deadline: float) -> None:
    """Have the hosts looked at, and wait for it."""
    hosts = Host.objects.exclude(policy=HostPolicy.RETIRED)
    began = clock()
    hosts.update(reconcile_due_at=began)
    unseen = hosts.filter(Q(reconciled_at=None) | Q(reconciled_at__lt=began))
    while names := [host.name for host in unseen.all()]:
        if time.monotonic() > deadline:
            raise CommandError(
                f"nobody has looked at {', '.join(names)}: see that worker and watch run, "
                "and that the hosts answer."
            )
        time.sleep(_PAUSE_S)


class Command(BaseCommand):
    help = "Wait until no card is unverified, dirty or in its checks."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--timeout", type=float, default=180.0, metavar="SECONDS", dest="timeout_s"
        )
        parser.add_argument(
            "--look-first",
            action="store_true",
            help="have every host looked at before: one that has booted has all to check",
        )

    def handle(
        self, *_: Any, timeout_s: float, look_first: bool = False, **__: Any
    ) -> None:
        deadline = time.monotonic() + timeout_s
        if look_first:
            _look(deadline)
        # Of an adopted guest, a card is held that has not been cleaned.
        held = CardClaim.objects.filter(card=OuterRef("pk"), released_at=None)
        waiting = Card.objects.filter(~Exists(held), condition__in=CLEANING_CONDITIONS)
        while count := waiting.count():
            if time.monotonic() > deadline:
                cards = ", ".join(
                    f"{card} is {card.get_condition_display()}"
                    for card in waiting.select_related("host")[:5]
                )
                raise CommandError(
                    f"{count} cards are not checked after {timeout_s:.0f} s ({cards}): "
                    "see their jobs, and that worker and watch run."
                )
            time.sleep(_PAUSE_S)
