#!/usr/bin/env python3
"""Entry point for Django's management commands; turns set-up faults into one line."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gpucloud_site.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

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


if __name__ == "__main__":
    main()
