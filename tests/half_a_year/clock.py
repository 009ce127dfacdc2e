"""One clock for this process and its database: time passes when somebody sleeps.

PostgreSQL looks for functions along search_path, so a schema ahead of pg_catalog gives all
that product and triggers ask for the time a clock that is ahead by a session's setting.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest
from django.db import connection
from django.db.backends.signals import connection_created
from django.utils import timezone

_SCHEMA = "simulated_clock"
_AHEAD = "gpucloud.ahead"
_FUNCTIONS = {"now": "STABLE", "statement_timestamp": "STABLE"} | {
    "transaction_timestamp": "STABLE",
    "clock_timestamp": "VOLATILE",
}


class SimulatedClock:
    """ahead_s: by how much it is ahead of the machine's own clock, in seconds."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self._time, self._monotonic, self._sleep = time.time, time.monotonic, time.sleep
        self._thread = threading.get_ident()

    def time(self) -> float:
        return self._time() + self.ahead_s

    def monotonic(self) -> float:
        return self._monotonic() + self.ahead_s

    def sleep(self, seconds: float) -> None:
        """Have `seconds` passed at once, here and in the database."""
        if threading.get_ident() != self._thread:
            # None of ours: it would pass our time.
            self._sleep(seconds)
            return
        self.ahead_s += seconds
        if connection.connection is not None:
            self._tell_database()

    def _tell_database(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config(%s, %s, false)", [_AHEAD, f"{self.ahead_s} seconds"]
            )

    def _on_connection(self, **_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET search_path = {_SCHEMA}, pg_catalog, public")
        self._tell_database()

    @contextmanager
    def in_database(self) -> Iterator[None]:
        """Have each connection of this process read this clock."""
        with connection.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA IF EXISTS {_SCHEMA} CASCADE")
            cursor.execute(f"CREATE SCHEMA {_SCHEMA}")
            for name, volatility in _FUNCTIONS.items():
                cursor.execute(
                    f"CREATE FUNCTION {_SCHEMA}.{name}() RETURNS timestamptz "
                    f"LANGUAGE sql {volatility} AS $$ SELECT pg_catalog.{name}() + "
                    f"current_setting('{_AHEAD}')::interval $$"
                )
        connection.close()
        connection_created.connect(self._on_connection)
        try:
            yield
        finally:
            connection_created.disconnect(self._on_connection)
            connection.close()
            with connection.cursor() as cursor:
                cursor.execute(f"DROP SCHEMA {_SCHEMA} CASCADE")


@contextmanager
def simulated_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedClock]:
    """Give the clock that Django, the product, the hosts and the database go by."""
    clock = SimulatedClock()

    class ClockedDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=clock.ahead_s)

    # Not timezone.now itself: models' defaults hold on to that function.
    monkeypatch.setattr(timezone, "datetime", ClockedDatetime)
    for name in ("time", "monotonic", "sleep"):
        monkeypatch.setattr(time, name, getattr(clock, name))
    with clock.in_database():
        yield clock
