"""Make and look up API tokens; the plain text is never stored."""

import hashlib
import secrets
from datetime import datetime

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from instances.models import Account, ApiToken
from inventory import prepared

_PREFIX_LENGTH = 8
# Once a minute is enough to see which tokens live; more would write at every request.
_LAST_USED_EVERY_S = 60
# Who has left the account takes no token along. In one statement: every request asks.
_FIND = f"""
SELECT {prepared.columns(ApiToken, "t")}, {prepared.columns(User, "u")},
       {prepared.columns(Account, "a")}
  FROM instances_apitoken t
  JOIN auth_user u ON u.id = t.user_id
  JOIN instances_account a ON a.id = t.account_id
 WHERE t.digest = %(digest)s AND t.revoked_at IS NULL AND u.is_active
   AND (t.expires_at IS NULL OR t.expires_at > now())
   AND EXISTS (SELECT FROM instances_account_members m
                WHERE m.account_id = a.id AND m.user_id = u.id)
"""  # noqa: S608 -- made of constants


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
    found = prepared.rows(_FIND, {"digest": digest_of(secret)})
    if not found:
        return None
    token, rest = prepared.load(ApiToken, found[0])
    user, rest = prepared.load(User, rest)
    account, _ = prepared.load(Account, rest)
    if token is None or user is None or account is None:
        return None
    token.user, token.account = user, account
    return token


def valid_tokens_of(account: Account, user: User) -> QuerySet[ApiToken]:
    """Return the tokens with which `user` can act for `account` now, oldest first."""
    return ApiToken.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=Now()),
        account=account,
        user=user,
        revoked_at=None,
    ).order_by("pk")


def revoke(token: ApiToken) -> None:
    """End the token now and for ever; once ended it keeps the first moment."""
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=Now())


def note_used(token: ApiToken, now: datetime) -> None:
    """Keep when the token was last used, at most once a minute."""
    last = token.last_used_at
    if last is None or (now - last).total_seconds() > _LAST_USED_EVERY_S:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
