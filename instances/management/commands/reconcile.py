"""manage.py reconcile [HOST ...]: compare hosts with rows now."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from instances import reconcile
from instances.jobs import card_work
from instances.tasks import enqueue_job
from inventory.choices import HostConnection, HostPolicy
from inventory.models import Host


class Command(BaseCommand):
    help = (
        "Compare hosts (all that are not retired, unless named) with the rows about them. "
        "Exit status 1 while a discrepancy is open or a host does not answer."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("hosts", nargs="*", metavar="HOST", help="a host's name")

    def handle(self, *_: Any, hosts: list[str], **__: Any) -> None:
        rows = Host.objects.exclude(policy=HostPolicy.RETIRED).order_by("name")
        if hosts:
            rows = rows.filter(name__in=hosts)
            unknown = sorted(set(hosts) - {host.name for host in rows})
            if unknown:
                raise CommandError(
                    f"HOST: {', '.join(unknown)} is no enrolled host; those are "
                    f"{', '.join(Host.objects.values_list('name', flat=True))}."
                )
        bad = 0
        for host in rows:
            bad += self._one(host)
        if bad:
            raise CommandError(f"{bad} of {len(rows)} hosts differ or do not answer.")

    def _one(self, host: Host) -> bool:
        started = time.monotonic()
        found = reconcile.reconcile(host.pk)
        for job_id in card_work.plan(host.pk):
            enqueue_job(job_id)
        host.refresh_from_db()
        took = f"{time.monotonic() - started:.1f} s"
        if host.connection != HostConnection.OK:
            self.stdout.write(f"{host}: does not answer ({took})")
            return True
        self.stdout.write(f"{host}: {len(found)} open discrepancies ({took})")
        for row in found:
            since = f"{row.first_seen_at:%Y-%m-%d %H:%M:%S}"
            self.stdout.write(f"  {row.get_kind_display()} since {since}: {row.detail}")
        return bool(found)
