"""manage.py reset_second_factor: for the admin who lost phone and codes, and has no other."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gpucloud_site.access.people import reset_second_factor


class Command(BaseCommand):
    help = "Take a person's second factor and end their sessions; the access log tells why."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--reason", required=True)

    def handle(self, *_: Any, username: str, reason: str, **__: Any) -> None:
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"Nobody is named {username}. See Staff > Users.")
        if not reset_second_factor(user, "manage.py", reason):
            raise CommandError(f"{username} has no second factor. Nothing was changed.")
        self.stdout.write(f"{username} sets up a new second factor at the next login.")
