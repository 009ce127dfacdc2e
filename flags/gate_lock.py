"""The lock between claims and changes of flags: a claim asks the gates under it.

Shared by claims, which do not wait for one another; alone for a change, so that no claim
which asked before it commits after it. An advisory lock, in whose queue a change has its
turn: a row lock FOR SHARE can starve it (ADR 0017).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import OperationalError, connection, transaction

from flags.exceptions import GatesBusy

_KEY = 0x67617465  # "gate"
# In a statement of its own: one that also read a flag would have read it before it waited.
HOLD_GATES = f"SELECT pg_advisory_xact_lock_shared({_KEY})"
_ALONE = f"SELECT pg_advisory_xact_lock({_KEY})"
_END_HOLDERS = f"""
SELECT pg_terminate_backend(pid) FROM pg_locks
 WHERE locktype = 'advisory' AND classid = 0 AND objid = {_KEY} AND objsubid = 1
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND granted AND pid <> pg_backend_pid()
"""  # noqa: S608 -- made of constants
# Claims take milliseconds. What takes longer is stuck, and keeps all claims behind us.
_PATIENCE = "2s"
_TRIES = 5


@contextmanager
def gates_alone(*, by_force: bool = False) -> Iterator[datetime]:
    """Open a transaction that no claim shares, and give its moment: all claims are before.

    by_force: a claim that does not end within 2 s has its connection ended, and so is
    undone. Raises GatesBusy.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        for _ in range(_TRIES):
            if _is_taken():
                break
            if not by_force:
                raise GatesBusy
            cursor.execute(_END_HOLDERS)
        else:
            raise GatesBusy
        yield clock()


def clock() -> datetime:
    """Return the database's time of this moment, not of the transaction's start."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    return now


def _is_taken() -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
            cursor.execute(_ALONE)
            cursor.execute("SET LOCAL lock_timeout = DEFAULT")
    except OperationalError:
        # The savepoint is undone; of another cause the next statement tells.
        return False
    return True
