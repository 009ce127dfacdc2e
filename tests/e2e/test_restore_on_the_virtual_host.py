"""The restore drill on the virtual host: the guests run on while their rows are lost."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deploy.local.databases import create_database, drop_database, run_sql
from deploy.local.environment import own_database_url
from deploy.local.probes import wait_for_web
from inventory.hypervisor.supervised import SupervisedHypervisor
from tests.e2e.conftest import DATABASE, Stack
from tests.e2e.observing import eventually, healed, open_kinds, rows
from tests.e2e.test_faults_on_the_virtual_host import is_refused
from tests.e2e.test_launch_on_the_virtual_host import Customer, employee, hypervisor
from tests.own_postgres import dump, settings_of

__all__ = ["employee", "hypervisor"]
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.gpuhost,
    pytest.mark.usefixtures("unsanitised"),
]
ADOPT = (
    "__import__('instances.actions.adopt').actions.adopt.adopt("
    "__import__('instances.actions.adopt').actions.adopt.AdoptOrder("
    "Host.objects.get().pk, __import__('uuid').UUID('{}'), 'user:test', 'drill')).pk"
)


@contextmanager
def all_stopped(stack: Stack) -> Iterator[None]:
    """Have nobody work with the database; afterwards only the web server does."""
    web, watch = stack.django.web(stack.port), stack.django.watch()
    for name in (web.name, watch.name):
        stack.services.stop(name)
    stack.stop_worker()
    stack.rows.close()
    try:
        yield
    finally:
        stack.rows.open()
        stack.services.ensure(web)
        wait_for_web(stack.services, stack.django, stack.port)


def test_restored_backup_is_told_what_the_host_did_since(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor
) -> None:
    server = own_database_url()
    assert server is not None
    goes = employee.create(1)
    employee.wait_for(goes["id"], "running")
    backup = dump(settings_of(stack.database_url))
    employee.call("DELETE", f"/v4/linode/instances/{goes['id']}")
    employee.wait_gone(goes["id"])
    stack.wait_for_cards()
    since = [employee.create(1), employee.create(2)]
    for each in since:
        employee.wait_for(each["id"], "running")
    uuids = {
        each["id"]: rows(stack, f"str(Instance.objects.get(pk={each['id']}).uuid)")
        for each in since
    }

    try:
        with all_stopped(stack):
            drop_database(server, DATABASE)
            run_sql(create_database(server, DATABASE), backup)
            stack.manage("after_restore", "--yes")
        # Nobody has looked at the host yet, and no card is for sale.
        assert is_refused(employee, 1)
    finally:
        stack.start_worker()
        stack.services.ensure(stack.django.watch())

    expected = [
        "domain_missing",
        *["unclaimed_hostdev"] * 3,
        *["unknown_guest"] * 2,
    ]
    eventually(lambda: open_kinds(stack) == expected, "tells something else")
    told = rows(
        stack,
        "list(Discrepancy.objects.filter(resolved_at=None, kind='unknown_guest')"
        ".values_list('subject', flat=True))",
    )
    assert set(told) == set(uuids.values())
    assert is_refused(employee, 1)
    # Deleted once more: what was deleted since the backup has no domain.
    employee.call("DELETE", f"/v4/linode/instances/{goes['id']}")
    employee.wait_gone(goes["id"])
    for number, uuid in uuids.items():
        assert rows(stack, ADOPT.format(uuid)) == number

    healed(stack)
    stack.manage("verify_usage")
    for each in since:
        now = employee.wait_for(each["id"], "running")
        assert (now["label"], now["type"]) == (each["label"], each["type"])
    assert {uuid: str(state) for uuid, state in hypervisor.domains().items()} == (
        dict.fromkeys(uuids.values(), "running")
    )
    # A card is left, and nobody else's number.
    last = employee.create(1)
    assert last["id"] > max(uuids)
    employee.wait_for(last["id"], "running")
