#!/usr/bin/env python3
"""Entry point for Django's management commands; turns set-up faults into one line."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gpucloud_site.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError, ProgrammingError

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"gpucloud: setting: {error}")
    except OperationalError as error:
        # Without this a stopped PostgreSQL shows as 60 lines of traceback.
        sys.exit(
            f"gpucloud: the database does not answer: {str(error).strip()}\n"
            "gpucloud: start PostgreSQL (`make run` does) or correct DATABASE_URL."
        )
    except ProgrammingError as error:
        # InsufficientPrivilege: the application's role makes and changes no table.
        if getattr(error.__cause__, "sqlstate", "") != "42501":
            raise
        sys.exit(
            f"gpucloud: the database refuses it: {str(error).strip()}\n"
            "gpucloud: have DATABASE_URL name the database's owner (docs/install.md), "
            "or run grants.sql."
        )


if __name__ == "__main__":
    main()
