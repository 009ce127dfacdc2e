"""Whether a flag is open for an account: the one question that gates ask."""

import re
from collections.abc import Iterable
from hashlib import md5
from typing import Any, Protocol

from django.db import connection
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from flags.models import Flag

# SQL: the flag `f`, but for a kill, is open for the account with the id %(account)s and the
# tags %(tags)s. `everyone` first: off beats every list and every beta. Every claim asks
# this, and the ORM takes longer to compose it than PostgreSQL to answer.
_LETS_IN = """coalesce(f.everyone, f.account_tags && %(tags)s::varchar[]
 OR coalesce(flags_bucket(f.name, %(account)s) < f.account_percent, false) OR EXISTS (
    SELECT FROM flags_flag_accounts a
     WHERE a.flag_id = f.id AND a.account_id = %(account)s) OR EXISTS (
    SELECT FROM flags_beta b
      JOIN flags_betaenrolment e ON e.beta_id = b.id AND e.account_id = %(account)s
     WHERE b.flag_id = f.id AND b.started_at <= now()
       AND (b.ended_at IS NULL OR b.ended_at > now())
       AND (b.account_tags = '{}' OR b.account_tags && %(tags)s::varchar[])))"""
IS_OPEN = f"(NOT f.is_killed AND {_LETS_IN})"
# The account had it, or would have it, were it not for the kill.
IS_KILLED = f"(f.is_killed AND {_LETS_IN})"
# Made of constants.
_OPEN = f"SELECT '' UNION ALL SELECT f.name FROM flags_flag f WHERE {IS_OPEN}"  # noqa: S608
_NAMED = "SELECT f.name FROM flags_flag f WHERE f.name = ANY (%(names)s::text[]) AND "


class FlaggedAccount(Protocol):
    """What a flag looks at. pk: the account's key; tags: its tags."""

    pk: int
    tags: list[str]


def is_available(flag_names: Iterable[str], account: FlaggedAccount | None) -> bool:
    """Say whether all of `flag_names` are open for `account` (None: nobody is signed in).

    An empty name is no gate. A flag that does not exist is shut. One query, never cached,
    so that a kill holds at once in every process.
    """
    names = {name for name in flag_names if name}
    return not names or names <= _ask(IS_OPEN, names, account)


def open_gates(account: FlaggedAccount | None) -> RawSQL:
    """Return the names of all flags that are open for `account`, and the empty one.

    As a subquery, for `flag_name__in`: of the moment at which it is asked.
    """
    whose = asking_for(account)
    named = re.findall(r"%\((\w+)\)s", _OPEN)
    positional = re.sub(r"%\(\w+\)s", "%s", _OPEN)
    return RawSQL(positional, [whose[name] for name in named])  # noqa: S611


def open_flags(
    flag_names: Iterable[str], account: FlaggedAccount | None
) -> frozenset[str]:
    """Return those of `flag_names` that are open for `account`."""
    return _ask(IS_OPEN, {name for name in flag_names if name}, account)


def killed_flags(flag_names: Iterable[str], account: FlaggedAccount) -> frozenset[str]:
    """Return those of `flag_names` that nothing but a kill shuts for `account`."""
    return _ask(IS_KILLED, {name for name in flag_names if name}, account)


def _ask(
    question: str, names: set[str], account: FlaggedAccount | None
) -> frozenset[str]:
    with connection.cursor() as cursor:
        cursor.execute(_NAMED + question, {"names": list(names)} | asking_for(account))
        return frozenset(name for (name,) in cursor.fetchall())


def asking_for(account: FlaggedAccount | None) -> dict[str, Any]:
    """Return the parameters of IS_OPEN and IS_KILLED."""
    if account is None:
        return {"account": None, "tags": []}
    return {"account": account.pk, "tags": list(account.tags)}


def bucket_of(flag_name: str, account_id: int) -> int:
    """Return in which of 100 parts of all accounts one is: what flags_bucket() says.

    Of each flag's own: who is first to one is not first to all. No secret, and no
    security rests on it.
    """
    digest = md5(f"{flag_name}:{account_id}".encode(), usedforsecurity=False)
    return int(digest.hexdigest()[:8], 16) % 100


def open_accounts(flag_names: Iterable[str], accounts: QuerySet[Any]) -> QuerySet[Any]:
    """Return those of `accounts` for which all flags are open, as is_available says.

    One query now, and what the caller makes of the result.
    """
    names = {name for name in flag_names if name}
    flags = Flag.objects.filter(name__in=names).exclude(everyone=False)
    found = list(flags.filter(is_killed=False)) if names else []
    if len(found) < len(names):
        return accounts.none()
    for flag in found:
        if not flag.everyone:
            accounts = accounts.filter(flag.lists())
    return accounts
