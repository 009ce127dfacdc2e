"""A person's second factor: set up, used, removed; its secrets are sealed (MFA_ADAPTER)."""

import time
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

# A code is good for its own 30 s and the tolerance's before and after.
_CODE_LIVES_S = 30 * (2 * settings.MFA_TOTP_TOLERANCE + 1)


class WrongCode(Exception):
    """It is not what the authenticator app shows now, or was used already."""


def factors_of(user: Any) -> QuerySet[Authenticator]:
    """Return the factor of `user` (or of a reference to one) that makes a second one."""
    return Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP)


@transaction.atomic
def set_up(user: User, secret: str, code: str) -> list[str]:
    """Give `user` the second factor of `secret`, of which `code` proves the possession.

    Returns the recovery codes. Raises WrongCode; then nothing was changed.
    """
    _lock(user)
    if factors_of(user).exists():
        raise WrongCode
    totp = TOTP.activate(user, secret)
    if not (totp.validate_code(code) and use_once(totp.instance, code)):
        raise WrongCode
    return make_recovery_codes(user)


@transaction.atomic
def make_recovery_codes(user: User) -> list[str]:
    """Make new recovery codes and void those that there were."""
    _lock(user)
    Authenticator.objects.filter(
        user=user, type=Authenticator.Type.RECOVERY_CODES
    ).delete()
    return list(RecoveryCodes.activate(user).get_unused_codes())


def _lock(user: User) -> None:
    """Have two pages at once take turns: else one would show codes that are void."""
    User.objects.select_for_update().get(pk=user.pk)


def codes_left(user: User) -> int:
    """Return how many recovery codes of `user` are not used yet."""
    found = Authenticator.objects.filter(
        user=user, type=Authenticator.Type.RECOVERY_CODES
    ).first()
    return len(found.wrap().get_unused_codes()) if found else 0


def remove(user: User) -> bool:
    """Take the second factor from `user`; say whether there was one."""
    deleted, _ = Authenticator.objects.filter(user=user).delete()
    return bool(deleted)


@transaction.atomic
def use_once(factor: Authenticator, code: str) -> bool:
    """Say whether an app's code, which is right, was not used before; now it is.

    allauth asks that of a cache, which each process has to itself.
    """
    row = Authenticator.objects.select_for_update().get(pk=factor.pk)
    now = time.time()
    used = {c: until for c, until in row.data.get("used", {}).items() if until > now}
    if code in used:
        return False
    row.data["used"] = {**used, code: now + _CODE_LIVES_S}
    row.save(update_fields=["data"])
    return True
