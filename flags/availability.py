"""Whether a flag is open for an account: the one question that gates ask."""

from collections.abc import Iterable
from typing import Any, Protocol

from django.db import connection
from django.db.models import QuerySet

from flags.models import Flag

# SQL: the flag `f` is open for the account with the id %(account)s and the tags %(tags)s.
# `everyone` first: a kill (False) beats every list and every beta. Every claim asks this,
# and the ORM takes longer to compose it than PostgreSQL to answer.
IS_OPEN = """coalesce(f.everyone, f.account_tags && %(tags)s::varchar[] OR EXISTS (
    SELECT FROM flags_flag_accounts a
     WHERE a.flag_id = f.id AND a.account_id = %(account)s) OR EXISTS (
    SELECT FROM flags_beta b
      JOIN flags_betaenrolment e ON e.beta_id = b.id AND e.account_id = %(account)s
     WHERE b.flag_id = f.id AND b.started_at <= now()
       AND (b.ended_at IS NULL OR b.ended_at > now())))"""
_OPEN = f"""
SELECT f.name FROM flags_flag f WHERE f.name = ANY (%(names)s::text[]) AND {IS_OPEN}
"""  # noqa: S608 -- made of constants


class FlaggedAccount(Protocol):
    """What a flag looks at. pk: the account's key; tags: its tags."""

    pk: int
    tags: list[str]


def is_available(flag_name: str, account: FlaggedAccount | None) -> bool:
    """Say whether `flag_name` is open for `account` (None: nobody is signed in).

    An empty name is no gate: True. A flag that does not exist is shut. One query, never
    cached, so that a kill holds at once in every process.
    """
    return not flag_name or flag_name in open_flags([flag_name], account)


def open_flags(
    flag_names: Iterable[str], account: FlaggedAccount | None
) -> frozenset[str]:
    """Return those of `flag_names` that are open for `account`; one query."""
    names = [name for name in flag_names if name]
    if not names:
        return frozenset()
    key = None if account is None else account.pk
    tags = [] if account is None else list(account.tags)
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, {"names": names, "tags": tags, "account": key})
        return frozenset(name for (name,) in cursor.fetchall())


def open_accounts(flag_name: str, accounts: QuerySet[Any]) -> QuerySet[Any]:
    """Return those of `accounts` for which the flag is open, as is_available says.

    One query now, and what the caller makes of the result.
    """
    if not flag_name:
        return accounts
    flag = Flag.objects.filter(name=flag_name).first()
    if flag is None or flag.everyone is False:
        return accounts.none()
    if flag.everyone:
        return accounts
    return accounts.filter(flag.lists())
