"""manage.py load_roles: have the groups of docs/roles.md, with their permissions."""

from typing import Any

from django.core.management.base import BaseCommand

from gpucloud_site.roles import load_roles


class Command(BaseCommand):
    help = (
        "Set the permissions of the roles' groups; other groups and who is in which are "
        "left as they are. Run it after each migrate."
    )

    def handle(self, *_: Any, **__: Any) -> None:
        for name, permissions in load_roles().items():
            self.stdout.write(f"{name}: {permissions} permissions")
