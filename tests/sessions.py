"""Sessions of the database server, cut off as by its restart."""

from django.db import connections


def cut_off(backend_pid: int) -> None:
    """End one session of our own; return when the server has ended it."""
    other = connections["default"].copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 30000)", [backend_pid])
    finally:
        other.close()
