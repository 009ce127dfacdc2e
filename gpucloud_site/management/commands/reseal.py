"""manage.py reseal: bring what is sealed under the secret key of now (docs/operations.md)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import Manager

from instances.models import SeedSettings, Webhook
from instances.sealed_user_data import resealed_user_data
from instances.sealing import SecretLost
from instances.webhook_secrets import resealed_secret

# Where a factor's row has what is sealed: the app's key, the recovery codes' seed or codes.
_OF_FACTORS = ("secret", "seed", "migrated_codes")


@dataclass(frozen=True, slots=True)
class Kept:
    """What is sealed in one column. remedy: for what no key can read any more."""

    what: str
    rows: Manager[Any]
    field: str
    renew: Callable[[Any], Any]
    remedy: str


def _factor_data(data: dict[str, Any]) -> dict[str, Any]:
    renew = get_adapter().resealed
    found = {name: data[name] for name in _OF_FACTORS if name in data}
    return data | {
        name: list(map(renew, kept)) if isinstance(kept, list) else renew(kept)
        for name, kept in found.items()
    }


KEPT = (
    Kept(
        "webhooks",
        Webhook.objects,
        "sealed_secret",
        resealed_secret,
        "their owners delete them and make new ones",
    ),
    Kept(
        "second factors",
        Authenticator.objects,
        "data",
        _factor_data,
        "an admin resets them (manage.py reset_second_factor)",
    ),
    Kept(
        "user data in work",
        SeedSettings.objects,
        "user_data",
        lambda kept: resealed_user_data(bytes(kept)),
        "their jobs fail, and the customers try again",
    ),
)


class Command(BaseCommand):
    help = (
        "Bring every kept secret under GPUCLOUD_SECRET_KEY, so that a key can be dropped "
        "from GPUCLOUD_SECRET_KEY_FALLBACKS. Ends with status 1 if one cannot be read."
    )

    def handle(self, *_: Any, **__: Any) -> None:
        lost = [problem for kept in KEPT for problem in self._reseal(kept)]
        if lost:
            raise CommandError("\n".join(lost))

    def _reseal(self, kept: Kept) -> Iterator[str]:
        """Do one column, a row a transaction; give what cannot be read."""
        done, lost = 0, []
        for pk in kept.rows.values_list("pk", flat=True):
            try:
                done += _renew(kept, pk)
            except SecretLost:
                lost.append(pk)
        self.stdout.write(f"{kept.what}: {done} brought under the key of now")
        if lost:
            yield (
                f"{kept.what}: {len(lost)} under a key that is not known "
                f"({', '.join(map(str, lost[:20]))}): {kept.remedy}."
            )


@transaction.atomic
def _renew(kept: Kept, pk: Any) -> bool:
    """Bring one row under the key of now; say whether it was not. Raises SecretLost."""
    row = kept.rows.select_for_update(no_key=True).filter(pk=pk).first()
    if row is None:
        return False
    before = getattr(row, kept.field)
    after = kept.renew(before)
    if after == before:
        return False
    kept.rows.filter(pk=pk).update(**{kept.field: after})
    return True
