"""Prepared statements on Django's connection."""

import pytest
from django.db import close_old_connections, connection

from inventory import prepared
from tests.sessions import cut_off


@pytest.mark.django_db(transaction=True)
def test_connection_that_died_between_two_requests_is_replaced() -> None:
    connection.ensure_connection()
    cut_off(connection.connection.info.backend_pid)

    # A request begins with it, and a task too.
    close_old_connections()

    assert prepared.rows("SELECT 1", {}) == [(1,)]
