"""The drill: a backup is restored, and what happened since is told, adopted and counted."""

from collections.abc import Iterator
from dataclasses import dataclass
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
from inventory.models import CardEvent, Discrepancy, Host
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


@dataclass(frozen=True, slots=True)
class Site:
    """The host, its row, and whose machines are on it."""

    host: Host
    machine: SimulatedHypervisor
    one_card: LaunchOrder
    two_cards: LaunchOrder
    # Of cores and memory alone, which no card's condition keeps from sale.
    plain: LaunchOrder

    def launched(self, order: LaunchOrder) -> Instance:
        instance = launch(order)
        work([Job.objects.get(instance=instance).pk], self.machine)
        instance.refresh_from_db()
        assert instance.phase == "running"
        return instance

    def deleted(self, instance: Instance) -> None:
        row = Instance.objects.get(pk=instance.pk)
        work([delete(row, "user:ann", "ann").pk], self.machine)
        check_all(self.host, self.machine)

    def adopted(self, instance: Instance) -> str:
        """Adopt the guest; return why that was refused, if it was."""
        order = AdoptOrder(self.host.pk, instance.uuid, "user:ann", "drill")
        try:
            adopt(order, lambda _uri: self.machine)  # type: ignore[arg-type,return-value]
        except CannotAdopt as error:
            return str(error)
        return ""

    def differing(self) -> list[Discrepancy]:
        return reconcile(self.host.pk, self.machine)


@dataclass(frozen=True, slots=True)
class Past:
    """backup: from before `goes` was deleted and `since` were launched."""

    backup: str
    stays: Instance
    goes: Instance
    since: list[Instance]


@pytest.fixture
def site(
    database: OwnPostgres, host: Host, simulated_host: SimulatedHypervisor
) -> Site:
    account = make_account()
    one, two, none = (
        make_order(account, plan=make_plan(cards=n).slug) for n in (1, 2, 0)
    )
    return Site(host, simulated_host, one, two, none)


@pytest.fixture
def past(site: Site) -> Past:
    stays, goes = site.launched(site.one_card), site.launched(site.one_card)
    # It is open in the backup, and was done after it.
    job = shut_down(stays, "user:ann", "ann")
    assert job is not None
    backup = dump(connection.settings_dict)
    work([job.pk], site.machine)
    assert site.machine.states[str(stays.uuid)] == "shut_down"
    site.machine.start_domain(str(stays.uuid))
    site.deleted(goes)
    # One of them has the card of the machine that was deleted.
    since = [site.launched(site.one_card), site.launched(site.two_cards)]
    return Past(backup, stays, goes, since)


def assert_told(found: list[Discrepancy], past: Past) -> None:
    assert kinds(found) == [
        "domain_missing",
        *["unclaimed_hostdev"] * 3,
        *["unknown_guest"] * 2,
    ]
    told = {row.subject for row in found if row.kind == "unknown_guest"}
    assert told == {str(each.uuid) for each in past.since}
    (gone,) = [row for row in found if row.kind == "domain_missing"]
    assert gone.consumer == past.goes.uuid


def assert_whole(site: Site, past: Past) -> None:
    fields = ("pk", "uuid", "label", "plan", "account", "image", "phase")
    for each in past.since:
        made = Instance.objects.get(pk=each.pk)
        assert [getattr(made, name) for name in fields] == [
            getattr(each, name) for name in fields
        ]
    adopted = CardEvent.objects.filter(kind="adopted")
    assert [event.reason for event in adopted] == ["adopted: drill"] * 3
    call_command("verify_ledger")
    assert audit_usage().differences == []
    # Nobody was shown another's bytes, and rows, ledger and host agree.
    assert_sound({site.host.pk: site.machine})


def test_restored_backup_is_told_what_happened_since(
    database: OwnPostgres, site: Site, past: Past
) -> None:
    restored(database, past.backup)
    call_command("after_restore", "--yes")

    for order in (site.one_card, site.plain):
        with pytest.raises(NoCapacity):
            launch(order)
    assert_told(site.differing(), past)
    for order in (site.one_card, site.plain):
        with pytest.raises(NoCapacity):
            launch(order)
    # What was open in the backup is not done a second time.
    work(due_jobs(), site.machine)
    assert site.machine.states[str(past.stays.uuid)] == "running"
    assert Job.objects.get(kind="shutdown").state == "failed"

    (refused,) = filter(None, map(site.adopted, past.since))
    assert f"is held by {past.goes}" in refused
    site.deleted(past.goes)
    site.differing()
    again = [site.adopted(each) for each in past.since]
    assert sorted(again) == [
        "",
        f"{past.since[again.index('') - 1]} has its rows already.",
    ]

    assert site.differing() == []
    check_all(site.host, site.machine)
    assert_whole(site, past)
    site.deleted(past.since[0])
    site.differing()
    site.deleted(site.launched(site.plain))
    # No number is given twice.
    assert site.launched(site.one_card).pk > max(each.pk for each in past.since)
    assert_sound({site.host.pk: site.machine})
