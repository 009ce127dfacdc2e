"""Whether a flag is open for an account: the one question that gates ask."""

from collections.abc import Iterable
from typing import Any, Protocol

from django.db.models import Q, QuerySet

from flags.models import Flag


class FlaggedAccount(Protocol):
    """What a flag looks at. pk: the account's key; tags: its tags."""

    pk: int
    tags: list[str]


def is_available(flag_name: str, account: FlaggedAccount | None) -> bool:
    """Say whether `flag_name` is open for `account` (None: nobody is signed in).

    An empty name is no gate: True. A flag that does not exist is shut. One or two queries;
    never cached, so that a kill holds at once in every process.
    """
    return not flag_name or flag_name in open_flags([flag_name], account)


def open_flags(
    flag_names: Iterable[str], account: FlaggedAccount | None
) -> frozenset[str]:
    """Return those of `flag_names` that are open for `account`; at most two queries."""
    flags = Flag.objects.filter(name__in=[name for name in flag_names if name])
    tags = set(account.tags) if account is not None else set()
    undecided = []
    found = set()
    for flag in flags:
        # `everyone` first: a kill (False) beats every list.
        if flag.everyone is not None:
            if flag.everyone:
                found.add(flag.name)
        elif tags.intersection(flag.account_tags):
            found.add(flag.name)
        else:
            undecided.append(flag.pk)
    if undecided and account is not None:
        found.update(
            Flag.accounts.through.objects.filter(
                flag__in=undecided, account=account.pk
            ).values_list("flag__name", flat=True)
        )
    return frozenset(found)


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
    listed = flag.accounts.values("pk")
    return accounts.filter(Q(pk__in=listed) | Q(tags__overlap=flag.account_tags))
