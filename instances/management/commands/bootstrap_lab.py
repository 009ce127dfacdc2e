"""manage.py bootstrap_lab: the first staff login and the four accounts of a lab."""

import json
import sys
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from flags.models import Flag
from instances import tokens
from instances.models import Account, ApiToken
from instances.models.account import EMPLOYEE_TAG

_ACCOUNTS = {
    "employee": ("Employee lab", [EMPLOYEE_TAG]),
    "customer": ("Customer One", []),
    "customer2": ("Customer Two", []),
    "no_gpu": ("Customer without GPUs", []),
}
_LISTED = ("customer", "customer2")
_FLAG = "gpu-instances"


class Command(BaseCommand):
    help = (
        'Read {"staff": {"username", "password"}, "tokens": {NAME: SECRET}} from standard '
        "input and make the database match: users, accounts, tokens, flag. For labs only."
    )

    def handle(self, *_: Any, **__: Any) -> None:
        if not settings.LAB:
            raise CommandError("Refused: this is for labs (GPUCLOUD_LAB=true).")
        try:
            wanted = json.load(sys.stdin)
            staff = wanted["staff"]["username"], wanted["staff"]["password"]
            secrets = {name: str(wanted["tokens"][name]) for name in _ACCOUNTS}
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(
                f"Standard input is not as described: {error!r}"
            ) from error
        with transaction.atomic():
            self._staff(*staff)
            accounts = {name: _account(name, secrets[name]) for name in _ACCOUNTS}
            flag = Flag.objects.get_or_create(name=_FLAG)[0]
            flag.accounts.add(*(accounts[name] for name in _LISTED))
        self.stdout.write(f"staff login {staff[0]}, {len(accounts)} accounts")

    def _staff(self, username: str, password: str) -> None:
        user, is_new = get_user_model().objects.get_or_create(
            username=username,
            defaults={
                "is_staff": True,
                "is_superuser": True,
                "email": "staff@lab.invalid",
            },
        )
        if is_new or not user.check_password(password):
            user.set_password(password)
            user.save(update_fields=["password"])


def _account(key: str, secret: str) -> Account:
    name, tags = _ACCOUNTS[key]
    email = f"{key.replace('_', '-')}@lab.invalid"
    user, is_new = get_user_model().objects.get_or_create(
        username=key, defaults={"email": email}
    )
    if is_new:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    account, _ = Account.objects.get_or_create(
        name=name, defaults={"email": email, "tags": tags}
    )
    account.members.add(user)
    if not ApiToken.objects.filter(digest=tokens.digest_of(secret)).exists():
        tokens.issue(account, user, "lab", secret)
    return account
