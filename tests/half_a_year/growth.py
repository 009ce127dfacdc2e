"""How many rows each table has, and which tables grow without bound."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from django.db import connection

Counts = Mapping[str, int]
# What is forgotten in time ends near 1; what never is comes to 3.
_MOST = 2
_FEW = 1


def rows_by_table() -> dict[str, int]:
    with connection.cursor() as cursor:
        counts = [
            f"SELECT '{table}', count(*) FROM \"{table}\""  # noqa: S608 -- own tables
            for table in connection.introspection.table_names(cursor)
        ]
        cursor.execute(" UNION ALL ".join(counts))
        return dict(cursor.fetchall())


def growing(looks: Sequence[Counts]) -> set[str]:
    """Return the tables whose rows grow on and on.

    looks: evenly over a time of which no row is kept for more than a sixth.
    """
    half = len(looks) // 2
    early, late = looks[:half], looks[half:]
    return {
        table
        for table in looks[-1]
        if _mean(late, table) > _MOST * _mean(early, table) + _FEW
    }


def _mean(looks: Sequence[Counts], table: str) -> float:
    return sum(look[table] for look in looks) / len(looks)


def memory_mib() -> float:
    """Return the memory that is this process's own, in MiB."""
    text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    found = re.search(r"Pss_Anon:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) / 1024
