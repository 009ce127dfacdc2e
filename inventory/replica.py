"""Reports read a replica of the database, where a setting names one; nothing else does.

A replica is behind, and cannot lock: whatever is decided is decided on the primary.
"""

import logging
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from typing import Any, TypeVar

from django.db import (
    DEFAULT_DB_ALIAS,
    InterfaceError,
    OperationalError,
    connections,
    transaction,
)

logger = logging.getLogger(__name__)

REPLICA = "replica"
Result = TypeVar("Result")

_alias: ContextVar[str | None] = ContextVar("database of reports", default=None)


class ReportsRouter:
    """Django's router: the ORM's reads of a report go where the report is read."""

    def db_for_read(self, *_: Any, **__: Any) -> str | None:
        return _alias.get()

    def allow_migrate(self, db: str, *_: Any, **__: Any) -> bool | None:
        return False if db == REPLICA else None


def reader() -> Any:
    """Return the connection for a report's own SQL."""
    return connections[_alias.get() or DEFAULT_DB_ALIAS]


def replayed_at() -> datetime | None:
    """Return when the newest change that the replica has was made; None on a primary.

    Nothing was changed since then, or the replica does not know of it yet.
    """
    if _alias.get() is None:
        return None
    with reader().cursor() as cursor:
        cursor.execute("SELECT pg_last_xact_replay_timestamp()")
        (moment,) = cursor.fetchone()
    return moment


def read_replica(make: Callable[[], Result]) -> Result:
    """Return what `make` makes of one moment's rows of the replica.

    Of the primary's where no replica is named, it does not answer, or it ends the query as
    it holds up what is replayed. `make` must fetch all its rows before it returns.
    """
    if REPLICA not in list(connections):
        return make()
    token = _alias.set(REPLICA)
    try:
        with transaction.atomic(using=REPLICA):
            with connections[REPLICA].cursor() as cursor:
                cursor.execute(
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
                )
            return make()
    except (OperationalError, InterfaceError) as error:
        logger.warning("the replica did not answer, the primary does: %s", error)
    finally:
        _alias.reset(token)
    return make()
