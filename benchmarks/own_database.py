"""A database of the benchmark's own: made, migrated, and dropped whatever happens."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import django
from django.core.management import call_command
from django.db import connections

from deploy.local.databases import create_database, drop_database


@contextmanager
def own_database(name: str) -> Iterator[None]:
    """Give Django set up on an empty, migrated database beside that of DATABASE_URL."""
    url = os.environ.get("DATABASE_URL")
    if not url:
        raise SystemExit("DATABASE_URL is not set: `. .local/env.sh`, as README says")
    name = f"bench_{name}_{os.getpid()}"
    os.environ["DATABASE_URL"] = create_database(url, name)
    os.environ["GPUCLOUD_LAB"] = "true"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gpucloud_site.settings")
    try:
        django.setup()
        call_command("migrate", verbosity=0)
        yield
    finally:
        connections.close_all()
        drop_database(url, name)
