"""Reports and downloads read the replica, or the primary in its place; nothing else does."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import InternalError, connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from instances.actions.launch import launch
from instances.models import Instance, Plan
from instances.reports.catalogue import REPORTS
from inventory.replica import REPLICA, read_replica
from tests.builders import make_account, make_order

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESSES = (
    *(f"/admin/reports/{name}/?format=csv" for name in REPORTS),
    "/admin/reports/inventory/",
    "/admin/usage/?format=csv",
)
# What a report tells of. A plain look at who asks, and at the form's regions, is neither.
TOLD = re.compile(
    r"(FROM|JOIN) \"?(inventory_(card|numanode|host)|instances_(instance|usage|plan|ref))"
)


@pytest.fixture
def replica() -> Iterator[Any]:
    """Name a replica, which is the test's own database; give its connection, not open."""
    connections.settings[REPLICA] = dict(connection.settings_dict)
    named = connections[REPLICA]
    # The test case, which began before, forbids it the databases that it does not know.
    named.ensure_connection = lambda: named.connection or named.connect()
    try:
        yield named
    finally:
        named.close()
        del connections[REPLICA]
        del connections.settings[REPLICA]


def cut_off(replica: Any) -> None:
    """End the replica's session, as its server's end does; the next query fails."""
    with replica.cursor() as cursor, connection.cursor() as other:
        cursor.execute("SELECT pg_backend_pid()")
        other.execute("SELECT pg_terminate_backend(%s, 10000)", cursor.fetchone())
        assert other.fetchone() == (True,)


def test_reports_are_read_from_the_replica(
    staff: Client, full_house: Instance, replica: Any
) -> None:
    for address in ADDRESSES:
        with (
            CaptureQueriesContext(connection) as primary,
            CaptureQueriesContext(replica) as secondary,
        ):
            assert staff.get(address).status_code == 200
        assert [q["sql"] for q in secondary if TOLD.search(q["sql"])], address
        assert not [q["sql"] for q in primary if TOLD.search(q["sql"])], address


def test_the_primary_answers_where_the_replica_does_not(
    staff: Client, full_house: Instance, replica: Any
) -> None:
    for address in ADDRESSES:
        cut_off(replica)
        with CaptureQueriesContext(connection) as primary:
            assert staff.get(address).status_code == 200
        assert [q["sql"] for q in primary if TOLD.search(q["sql"])], address


def test_nothing_is_decided_by_the_replica(full_house: Instance, replica: Any) -> None:
    launch(make_order(make_account("other")))
    assert replica.connection is None, "it was asked"
    with pytest.raises(InternalError, match="read-only"):
        read_replica(lambda: Plan.objects.using(REPLICA).update(is_sold=False))
