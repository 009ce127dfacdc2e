"""Make and look up API tokens; the plain text is never stored."""

import hashlib
import secrets
from datetime import datetime

from django.contrib.auth.models import User
from django.db.models import F, Q
from django.db.models.functions import Now

from instances.models import Account, ApiToken

_PREFIX_LENGTH = 8
# Once a minute is enough to see which tokens live; more would write at every request.
_LAST_USED_EVERY_S = 60


def new_secret() -> str:
    """Return 256 random bits as 64 hexadecimal digits, the form of Linode's tokens."""
    return secrets.token_hex(32)


def digest_of(secret: str) -> str:
    # 256 random bits need no slow hash: nobody guesses them.
    return hashlib.sha256(secret.encode()).hexdigest()


def issue(
    account: Account,
    user: User,
    label: str,
    secret: str,
    *,
    scopes: str = "*",
    expires_at: datetime | None = None,
) -> ApiToken:
    """Store a token for `user` acting for `account`; the caller shows `secret` once."""
    return ApiToken.objects.create(
        account=account,
        user=user,
        label=label,
        prefix=secret[:_PREFIX_LENGTH],
        digest=digest_of(secret),
        scopes=scopes,
        expires_at=expires_at,
    )


def find(secret: str) -> ApiToken | None:
    """Return the valid token with this secret, with user and account; None if none is."""
    return (
        ApiToken.objects.select_related("user", "account")
        .filter(digest=digest_of(secret), revoked_at=None, user__is_active=True)
        # Who has left the account takes no token along.
        .filter(account__members=F("user"))
        .filter(Q(expires_at=None) | Q(expires_at__gt=Now()))
        .first()
    )


def note_used(token: ApiToken, now: datetime) -> None:
    """Keep when the token was last used, at most once a minute."""
    last = token.last_used_at
    if last is None or (now - last).total_seconds() > _LAST_USED_EVERY_S:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
