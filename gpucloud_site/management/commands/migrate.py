"""manage.py migrate: Django's own, which a site at work survives."""

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import OperationalError

from gpucloud_site.patient_migrations import PatientExecutor, is_of_locks


class Command(migrate.Command):
    help = (
        f"{migrate.Command.help} Beside a site at work: requests wait, and none fails."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        # Django's command names its executor there and nowhere else.
        djangos = migrate.MigrationExecutor  # type: ignore[attr-defined]
        migrate.MigrationExecutor = PatientExecutor  # type: ignore[attr-defined]
        try:
            super().handle(*args, **options)
        except OperationalError as error:
            if is_of_locks(error):
                raise CommandError(
                    "A table that is to change was in use all the time: end the long "
                    "transaction (pg_stat_activity shows it) and run this again. What was "
                    "applied stays."
                ) from error
            raise
        finally:
            migrate.MigrationExecutor = djangos  # type: ignore[attr-defined]
