"""The restore drill on the virtual host: the guests run on while their rows are lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
    "Host.objects.get(name='{}').pk, __import__('uuid').UUID('{}'), 'user:test', "
    "'drill')).pk"
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


def restore(stack: Stack, backup: str) -> None:
    """Put the database back, by the steps of docs/recovery.md."""
    server = own_database_url()
    assert server is not None
    with all_stopped(stack):
        drop_database(server, DATABASE)
        run_sql(create_database(server, DATABASE), backup)
        stack.manage("after_restore", "--yes")


def launched(
    stack: Stack, customer: Customer, *cards: int
) -> dict[str, dict[str, Any]]:
    """Return what runs now: by UUID, as the API tells it."""
    made = [customer.create(number) for number in cards]
    return {
        rows(stack, f"str(Instance.objects.get(pk={each['id']}).uuid)"): (
            customer.wait_for(each["id"], "running")
        )
        for each in made
    }


def deleted(customer: Customer, instance_id: int) -> None:
    customer.call("DELETE", f"/v4/linode/instances/{instance_id}")
    customer.wait_gone(instance_id)


def unknown_guests(stack: Stack) -> set[str]:
    found = (
        "list(Discrepancy.objects.filter(resolved_at=None, kind='unknown_guest')"
        ".values_list('subject', flat=True))"
    )
    return set(rows(stack, found))


@pytest.fixture
def shut_at_the_end(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor
) -> Iterator[None]:
    """Leave no guest to later tests whom a failure has left without an owner."""
    yield
    for uuid in unknown_guests(stack):
        hypervisor.destroy_domain(uuid)
        hypervisor.undefine_domain(uuid)


@pytest.mark.usefixtures("shut_at_the_end")
def test_restored_backup_is_told_what_the_host_did_since(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor
) -> None:
    (goes,) = launched(stack, employee, 1).values()
    backup = dump(settings_of(stack.database_url))
    deleted(employee, goes["id"])
    stack.wait_for_cards()
    since = launched(stack, employee, 1, 2)

    try:
        restore(stack, backup)
        # Nobody has looked at the host yet, and no card is for sale.
        assert is_refused(employee, 1)
    finally:
        stack.start_worker()
        stack.services.ensure(stack.django.watch())

    expected = ["domain_missing", *["unclaimed_hostdev"] * 3, *["unknown_guest"] * 2]
    eventually(lambda: open_kinds(stack) == expected, "tells something else")
    assert unknown_guests(stack) == set(since)
    assert is_refused(employee, 1)
    # Once more: its domain is gone since before the rows were lost.
    deleted(employee, goes["id"])
    for uuid, told in since.items():
        assert rows(stack, ADOPT.format(stack.hosts[0].name, uuid)) == told["id"]

    healed(stack)
    stack.check("verify_usage")
    for told in since.values():
        now = employee.wait_for(told["id"], "running")
        assert (now["label"], now["type"]) == (told["label"], told["type"])
    assert hypervisor.domains() == dict.fromkeys(since, "running")
    # A card is left, and nobody else's number.
    (last,) = launched(stack, employee, 1).values()
    assert last["id"] > max(told["id"] for told in since.values())
