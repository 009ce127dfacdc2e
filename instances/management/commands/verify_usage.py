"""manage.py verify_usage: compare what is billed with what was held, and invoiced."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from instances.invoicing import invoice_differences
from instances.usage_audit import audit_usage
from inventory.ledger_audit import read_one_moment

_SHOWN = 20


class Command(BaseCommand):
    help = (
        "Compare every instance's usage with its claims and its launch, and every "
        "invoice with usage. It changes nothing and sees one moment. Exit status 1 if "
        "anything differs."
    )

    def handle(self, *_: Any, **__: Any) -> None:
        with transaction.atomic(durable=True):
            read_one_moment()
            done = audit_usage()
            differences = [*map(str, done.differences), *invoice_differences()]
        for difference in differences[:_SHOWN]:
            self.stderr.write(difference)
        if differences:
            raise CommandError(f"Usage differs {len(differences)} times.")
        self.stdout.write(
            f"Usage agrees: {done.instances} instances, {done.intervals} intervals"
        )
