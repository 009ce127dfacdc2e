"""The drill: a backup is restored, and what happened since is told, adopted and counted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection

from deploy.local.databases import create_database, run_sql
from instances.actions.adopt import AdoptOrder, adopt
from instances.actions.delete import delete
from instances.actions.launch import LaunchOrder, launch
from instances.actions.power import shut_down
from instances.exceptions import CannotAdopt, NoCapacity
from instances.jobs.leases import due_jobs
from instances.models import Instance, Job
from instances.reconcile import reconcile
from instances.usage_audit import audit_usage
from inventory.models import CardEvent, Host
from tests.builders import make_account, make_order, make_plan
from tests.instances.soundness import assert_sound
from tests.instances.test_card_checks import check_all, work
from tests.instances.test_force_release import host
from tests.instances.test_reconcile import kinds
from tests.own_postgres import OwnPostgres, dump, own_postgres, settings_of
from tests.simulated import SimulatedHypervisor

__all__ = ["host"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def database(transactional_db: None, tmp_path: Path) -> Iterator[OwnPostgres]:
    with own_postgres(tmp_path / "database") as made:
        yield made


def restored(server: OwnPostgres, backup: str) -> None:
    """Have this process work with another database, which is the backup's."""
    url = create_database(server.url, "restored")
    run_sql(url, backup)
    connection.close()
    connection.settings_dict.update(settings_of(url))


def test_restored_backup_is_told_what_happened_since(
    database: OwnPostgres, host: Host, simulated_host: SimulatedHypervisor
) -> None:
    account = make_account()
    one, two = (make_order(account, plan=make_plan(cards=n).slug) for n in (1, 2))

    def launched(order: LaunchOrder) -> Instance:
        instance = launch(order)
        work([Job.objects.get(instance=instance).pk], simulated_host)
        instance.refresh_from_db()
        assert instance.phase == "running"
        return instance

    stays, goes = launched(one), launched(one)
    # It is open in the backup, and was done after it.
    shut_down(stays, "user:ann", "ann")
    backup = dump(connection.settings_dict)
    work(
        list(Job.objects.filter(state="queued").values_list("pk", flat=True)),
        simulated_host,
    )
    work([delete(goes, "user:ann", "ann").pk], simulated_host)
    check_all(host, simulated_host)
    simulated_host.start_domain(str(stays.uuid))
    # One of them has the card of the machine that was deleted.
    since = [launched(one), launched(two)]

    restored(database, backup)
    call_command("after_restore", "--yes")

    with pytest.raises(NoCapacity):
        launch(one)
    found = reconcile(host.pk, simulated_host)
    told = {row.subject for row in found if row.kind == "unknown_guest"}
    assert told == {str(each.uuid) for each in since}
    assert kinds(found) == [
        "domain_missing",
        *["unclaimed_hostdev"] * 3,
        *["unknown_guest"] * 2,
    ]
    (gone,) = [row for row in found if row.kind == "domain_missing"]
    assert gone.consumer == goes.uuid
    with pytest.raises(NoCapacity):
        launch(one)
    # What was open in the backup is not done a second time.
    work(due_jobs(), simulated_host)
    assert simulated_host.states[str(stays.uuid)] == "running"
    assert Job.objects.get(kind="shutdown").state == "failed"

    orders = [AdoptOrder(host.pk, each.uuid, "user:ann", "drill") for each in since]
    refused = 0
    for order in orders:
        try:
            adopt(order, lambda _uri: simulated_host)  # type: ignore[arg-type,return-value]
        except CannotAdopt as error:
            assert f"is held by {goes}" in str(error)
            refused += 1
    assert refused == 1
    work(
        [delete(Instance.objects.get(pk=goes.pk), "user:ann", "ann").pk], simulated_host
    )
    reconcile(host.pk, simulated_host)
    for order in orders:
        if not Instance.objects.filter(uuid=order.uuid).exists():
            adopt(order, lambda _uri: simulated_host)  # type: ignore[arg-type,return-value]

    assert reconcile(host.pk, simulated_host) == []
    check_all(host, simulated_host)
    for each in since:
        made = Instance.objects.get(pk=each.pk)
        assert (made.uuid, made.label, made.plan, made.phase) == (
            each.uuid,
            each.label,
            each.plan,
            "running",
        )
    adopted = CardEvent.objects.filter(kind="adopted")
    assert {event.reason for event in adopted} == {"adopted: drill"}
    assert len(adopted) == 3
    call_command("verify_ledger")
    assert audit_usage().differences == []
    # No customer's bytes were shown to another, and no number was given twice.
    assert_sound({host.pk: simulated_host})
    work(
        [delete(Instance.objects.get(pk=since[0].pk), "user:ann", "ann").pk],
        simulated_host,
    )
    check_all(host, simulated_host)
    reconcile(host.pk, simulated_host)
    assert launched(one).pk > max(each.pk for each in since)
    assert_sound({host.pk: simulated_host})
