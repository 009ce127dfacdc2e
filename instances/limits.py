"""How many of a thing one may have: what anybody may make without end fills the disks."""

from typing import Any

from django.db.models import Model, QuerySet

from instances.exceptions import InvalidRequest

SSH_KEYS = 100
TOKENS = 100
FIREWALLS = 100
TAGS = 1000


def refuse_more(owner: Model, rows: QuerySet[Any], most: int, what: str) -> None:
    """Refuse to make one more of the owner's `rows`. Raises InvalidRequest.

    To be called in the transaction that makes it: the owner's row is the lock, so that
    two who make one count one after the other.
    """
    type(owner)._base_manager.select_for_update(no_key=True).get(pk=owner.pk)  # noqa: SLF001 -- public
    if rows.count() < most:
        return
    reason = (
        f"Account Limit reached. {_NAMES[type(owner).__name__]} has at most {most} {what}. "
        "Delete one that is not needed any more."
    )
    raise InvalidRequest([(None, reason)])


_NAMES = {"Account": "An account", "User": "A user"}
