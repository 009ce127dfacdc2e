"""manage.py list_alerts [--json]: what needs a person, for monitoring systems."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inventory.choices import AlertClass, DiscrepancyKind
from inventory.models import Alert, Discrepancy
from inventory.remedies import PASSING, remedy_of


@dataclass(frozen=True, slots=True)
class Trouble:
    """One open alert or discrepancy.

    kind: alert or discrepancy. about: a region, a host, or a host and a PCI slot.
    """

    kind: str
    id: int
    about: str
    code: str
    prevents_claims: bool
    since: datetime
    detail: str
    remedy: str

    def __str__(self) -> str:
        word = "PREVENTS CLAIMS" if self.prevents_claims else "warning"
        line = (
            f"{word}: {self.about}: {self.code} since {self.since:%Y-%m-%dT%H:%M:%SZ} "
            f"({self.kind} {self.id}): {self.detail} {self.remedy}"
        )
        # One line each, whatever a host put into its words.
        return " ".join(line.split())


class Command(BaseCommand):
    help = (
        "List the open alerts, and the discrepancies that do not pass by themselves, one a "
        "line; those that prevent claims come first. Exit status 1 while any does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="write one JSON array instead of lines"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        found = sorted(
            [*_alerts(), *_discrepancies()],
            key=lambda each: (not each.prevents_claims, each.since, each.kind, each.id),
        )
        if options["json"]:
            rows = [{**asdict(e), "since": e.since.isoformat()} for e in found]
            self.stdout.write(json.dumps(rows, indent=1))
        else:
            for each in found:
                self.stdout.write(str(each))
        blocking = sum(each.prevents_claims for each in found)
        if blocking:
            raise CommandError(f"{blocking} of {len(found)} prevent claims.")


def _alerts() -> list[Trouble]:
    rows = Alert.objects.filter(cleared_at=None)
    return [
        Trouble(
            "alert",
            row.pk,
            str(row.region or row.host or row.card),
            f"{row.source}/{row.code}",
            row.alert_class == AlertClass.PREVENTS_CLAIMS,
            row.raised_at,
            row.message,
            "",
        )
        for row in rows.select_related("region", "host", "card__host")
    ]


def _discrepancies() -> list[Trouble]:
    rows = Discrepancy.objects.filter(resolved_at=None).exclude(kind__in=PASSING)
    return [
        Trouble(
            "discrepancy",
            row.pk,
            str(row.card or row.host),
            row.kind,
            row.prevents_claims,
            row.first_seen_at,
            row.detail,
            remedy_of(DiscrepancyKind(row.kind)),
        )
        for row in rows.select_related("host", "card__host")
    ]
