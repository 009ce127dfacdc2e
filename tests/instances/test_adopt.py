"""Guests whose rows a restored database lost: adopted whole, or shut, and never sold over."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from pytest_django import Settings

from instances.actions.adopt import AdoptOrder, adopt
from instances.actions.delete import delete
from instances.actions.launch import launch
from instances.actions.resize import ResizeOrder, resize
from instances.actions.shut_lost_guest import ShutOrder, shut_lost_guest
from instances.exceptions import CannotAdopt, NoCapacity
from instances.models import Account, HostImage, Instance, Job, UsageInterval
from instances.reconcile import reconcile
from instances.restored import settle
from instances.usage_audit import audit_usage
from inventory import ledger
from inventory.address_claims import adopt_address
from inventory.addresses import address_of, mac_of
from inventory.exceptions import HostUnreachable
from inventory.ledger_audit import audit
from inventory.models import (
    AddressClaim,
    Card,
    CardClaim,
    CardEvent,
    Discrepancy,
    Host,
    NodeClaim,
)
from inventory.topology import NodeShare
from tests.builders import (
    make_account,
    make_disk_image,
    make_network,
    make_order,
    make_plan,
)
from tests.instances.test_card_checks import check_all, work
from tests.instances.test_force_release import host
from tests.instances.test_reconcile import kinds
from tests.instances.test_reservations import make_reservation
from tests.simulated import Faulty, SimulatedHypervisor

__all__ = ["host"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def lost(host: Host, simulated_host: SimulatedHypervisor) -> Instance:
    """Give an instance with two cards that runs; the rows are those from before it."""
    order = make_order(plan=make_plan(cards=2).slug)
    backup = transaction.savepoint()
    instance = launch(order)
    work([Job.objects.get(instance=instance).pk], simulated_host)
    instance.refresh_from_db()
    assert instance.phase == "running"
    transaction.savepoint_rollback(backup)
    assert not Instance.objects.exists()
    return instance


def order_for(host: Host, instance: Instance, **fields: Any) -> AdoptOrder:
    return AdoptOrder(host.pk, instance.uuid, "user:ann", "restored", **fields)


def adopted(order: AdoptOrder, hypervisor: object) -> Instance:
    return adopt(order, lambda _uri: hypervisor)  # type: ignore[arg-type,return-value]


def state() -> list[object]:
    """Return all that a refusal must leave as it was."""
    return [
        list(model.objects.order_by("pk").values())
        for model in (CardClaim, NodeClaim, AddressClaim, Instance, CardEvent, Card)
    ]


def test_host_of_an_unknown_guest_sells_nothing_until_it_is_adopted(
    host: Host, lost: Instance, simulated_host: SimulatedHypervisor
) -> None:
    found = reconcile(host.pk, simulated_host)

    assert kinds(found) == ["unclaimed_hostdev"] * 2 + ["unknown_guest"]
    (told,) = [row for row in found if row.kind == "unknown_guest"]
    assert told.subject == str(lost.uuid)
    assert f"{lost.label} (number {lost.pk}, account {lost.account.uuid}" in told.detail
    with pytest.raises(NoCapacity):
        launch(make_order())

    made = adopted(order_for(host, lost), simulated_host)

    for name in ("pk", "uuid", "label", "account", "plan", "image", "region", "phase"):
        assert getattr(made, name) == getattr(lost, name), name
    assert reconcile(host.pk, simulated_host) == []
    events = CardEvent.objects.filter(consumer=lost.uuid)
    assert {(e.kind, e.actor, e.reason) for e in events} == {
        ("adopted", "user:ann", "adopted: restored")
    }
    assert {e.to_condition for e in events} == {"unverified"}
    assert audit().difference is None
    assert audit_usage().differences == []
    (interval,) = UsageInterval.objects.filter(instance=made)
    assert (interval.starts_at, interval.ends_at) == (made.ready_at, None)
    launch(make_order())
    assert Instance.objects.latest("pk").pk > made.pk
    with pytest.raises(CannotAdopt, match="has its rows already"):
        adopted(order_for(host, lost), simulated_host)


def test_cards_of_an_adopted_guest_are_scrubbed_after_it(
    host: Host, lost: Instance, simulated_host: SimulatedHypervisor
) -> None:
    reconcile(host.pk, simulated_host)
    made = adopted(order_for(host, lost), simulated_host)
    reconcile(host.pk, simulated_host)

    work([delete(made, "user:ann", "ann").pk], simulated_host)
    check_all(host, simulated_host)

    assert {card.condition for card in host.cards.all()} == {"ready"}
    assert set(simulated_host.residue.values()) <= {0}
    assert audit().difference is None
    assert audit_usage().differences == []


def _silent(host: Host, lost: Instance, simulated: SimulatedHypervisor) -> object:
    def no_answer(_: str) -> None:
        raise HostUnreachable("no route to host")

    return Faulty(simulated, no_answer)


def _unseen(host: Host, lost: Instance, simulated: SimulatedHypervisor) -> object:
    Host.objects.update(last_seen_at=Now() - timedelta(days=1))
    return simulated


def _gone(host: Host, lost: Instance, simulated: SimulatedHypervisor) -> object:
    simulated.destroy_domain(str(lost.uuid))
    simulated.undefine_domain(str(lost.uuid))
    return simulated


def _edited(before: str, after: str) -> Callable[..., object]:
    def edit(_: Host, lost: Instance, simulated: SimulatedHypervisor) -> object:
        document = simulated.documents[str(lost.uuid)]
        assert before in document
        simulated.documents[str(lost.uuid)] = document.replace(before, after, 1)
        return simulated

    return edit


def _account_lost(host: Host, lost: Instance, simulated: SimulatedHypervisor) -> object:
    Account.objects.filter(pk=lost.account_id).update(uuid=uuid.uuid4())
    return simulated


def _card_held(host: Host, lost: Instance, simulated: SimulatedHypervisor) -> object:
    card = host.cards.get(slot_path="0000:21:00")
    share = NodeShare(card.numa_node.number, (card.pk,), (1,), 1, 64)
    ledger.adopt(
        ledger.lock_host(host.pk),
        [share],
        uuid.uuid4(),
        ledger.Actor("test:x", "another's"),
    )
    return simulated


def _number_taken(host: Host, lost: Instance, simulated: SimulatedHypervisor) -> object:
    Instance.objects.create(
        pk=lost.pk, account=lost.account, plan=lost.plan, region=lost.region,
        image=lost.image, label="another", created_by="user:x",
    )  # fmt: skip
    return simulated


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (_silent, "cannot be asked: no route to host"),
        (_unseen, "was not compared with its rows just now"),
        (_gone, "has no domain"),
        (_edited('version="2"', 'version="9"'), "version 9 is not known here"),
        (_edited("gpucloud:instance", "gpucloud:other"), "cannot be|none of ours"),
        (_edited('memory_mib="', 'memory_mib="9'), "Somebody else holds|does not run"),
        (_edited('slot="0000:21:00"', 'slot="0000:61:00"'), "does not run with"),
        (_account_lost, "account: the guest's own"),
        (_card_held, "is held by"),
        (_number_taken, "was given to another since"),
    ],
)
def test_refused_adoption_changes_nothing(
    host: Host,
    lost: Instance,
    simulated_host: SimulatedHypervisor,
    break_it: Callable[..., object],
    why: str,
) -> None:
    reconcile(host.pk, simulated_host)
    machine = break_it(host, lost, simulated_host)
    before = state()

    with pytest.raises(CannotAdopt, match=why):
        adopted(order_for(host, lost), machine)

    assert state() == before


def test_guest_of_a_lost_account_is_given_to_the_one_that_is_named(
    host: Host, lost: Instance, simulated_host: SimulatedHypervisor
) -> None:
    reconcile(host.pk, simulated_host)
    _account_lost(host, lost, simulated_host)
    other = make_account()

    assert (
        adopted(order_for(host, lost, account=other), simulated_host).account == other
    )


def test_guest_with_metadata_of_the_first_version_is_adopted(
    host: Host, lost: Instance, simulated_host: SimulatedHypervisor
) -> None:
    document = simulated_host.documents[str(lost.uuid)]
    start = document.index("<metadata>")
    end = document.index("</metadata>")
    old = (
        '<gpucloud:instance xmlns:gpucloud="urn:gpucloud:instance:1" version="1" '
        f'id="{lost.pk}" account="{lost.account_id}" plan="{lost.plan.slug}" '
        f'region="{lost.region.slug}" image="{lost.image.slug}"/>'
    )
    simulated_host.documents[str(lost.uuid)] = (
        document[:start] + "<metadata>" + old + document[end:]
    )
    assert "unknown_guest" in kinds(reconcile(host.pk, simulated_host))

    made = adopted(order_for(host, lost, account=lost.account), simulated_host)

    assert (made.pk, made.label) == (lost.pk, f"linode{lost.pk}")
    assert reconcile(host.pk, simulated_host) == []


@pytest.mark.parametrize("deletes_disk", [True, False])
def test_guest_that_is_shut_leaves_its_cards_to_be_scrubbed(
    host: Host, lost: Instance, simulated_host: SimulatedHypervisor, deletes_disk: bool
) -> None:
    simulated_host.ensure_folder_pool("gpucloud-disks", "/disks")
    volume = f"{lost.uuid}.qcow2"
    simulated_host.create_volume("gpucloud-disks", volume, 1 << 20, "qcow2")
    order = ShutOrder(host.pk, lost.uuid, deletes_disk)

    with pytest.raises(CannotAdopt, match="look again"):
        shut_lost_guest(order, lambda _uri: simulated_host)  # type: ignore[arg-type,return-value]
    assert simulated_host.states[str(lost.uuid)] == "running"
    reconcile(host.pk, simulated_host)
    shut_lost_guest(order, lambda _uri: simulated_host)  # type: ignore[arg-type,return-value]

    assert simulated_host.states == {}
    assert simulated_host.volume_names("gpucloud-disks") == (
        [] if deletes_disk else [volume]
    )
    assert reconcile(host.pk, simulated_host) == []
    check_all(host, simulated_host)
    assert {card.condition for card in host.cards.all()} == {"ready"}
    assert set(simulated_host.residue.values()) <= {0}


def test_guest_that_is_being_shut_is_not_adopted(
    host: Host, lost: Instance, simulated_host: SimulatedHypervisor
) -> None:
    reconcile(host.pk, simulated_host)
    Discrepancy.objects.filter(kind="unknown_guest").update(shut_at=Now())

    with pytest.raises(CannotAdopt, match="being shut"):
        adopted(order_for(host, lost), simulated_host)


def test_mac_of_ours_tells_its_address() -> None:
    assert address_of(mac_of("203.0.113.7")) == "203.0.113.7"
    assert address_of("52:54:00:00:00:01") is None
    assert address_of("of no kind") is None


def _as_of(backup: str) -> None:
    transaction.savepoint_rollback(backup)
    # What was changed just now is judged at the next look.
    Instance.objects.update(updated_at=Now() - timedelta(minutes=1))


def test_resize_that_the_rows_lost_is_adopted(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launch(make_order(plan=make_plan(cards=1).slug))
    work([Job.objects.get(kind="launch").pk], simulated_host)
    bigger = make_plan(cards=2)
    backup = transaction.savepoint()
    job = resize(Instance.objects.get(), ResizeOrder(bigger.slug, "user:ann", "ann"))
    work([job.pk], simulated_host)
    assert Instance.objects.get().plan == bigger
    _as_of(backup)

    found = reconcile(host.pk, simulated_host)
    assert {"guest_changed", "unclaimed_hostdev"} <= set(kinds(found))
    assert any(row.prevents_claims and row.card is None for row in found)
    with pytest.raises(NoCapacity):
        launch(make_order())
    made = adopted(order_for(host, instance), simulated_host)

    assert (made.plan, made.claim_set, made.phase) == (bigger, 2, "running")
    assert CardClaim.objects.filter(released_at=None).count() == 2
    assert audit().difference is None
    assert audit_usage().differences == []
    Instance.objects.update(updated_at=Now() - timedelta(minutes=1))
    assert reconcile(host.pk, simulated_host) == []
    check_all(host, simulated_host)
    assert set(CardClaim.objects.filter(released_at=None).values_list("consumer")) == {
        (instance.uuid,)
    }


def test_rebuild_that_the_rows_lost_is_adopted(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launch(make_order())
    work([Job.objects.get(kind="launch").pk], simulated_host)
    Instance.objects.update(updated_at=Now() - timedelta(minutes=1))
    _edited('generation="1"', 'generation="2"')(host, instance, simulated_host)
    assert kinds(reconcile(host.pk, simulated_host)) == ["guest_changed"]

    assert adopted(order_for(host, instance), simulated_host).generation == 2

    Instance.objects.update(updated_at=Now() - timedelta(minutes=1))
    assert reconcile(host.pk, simulated_host) == []


def test_launch_whose_end_the_rows_lost_is_adopted(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    instance = launch(make_order())
    backup = transaction.savepoint()
    work([Job.objects.get(kind="launch").pk], simulated_host)
    _as_of(backup)
    assert settle(100).jobs == 1
    assert kinds(reconcile(host.pk, simulated_host)) == ["claim_unused"]

    made = adopted(order_for(host, instance), simulated_host)

    assert (made.phase, made.desired) == ("running", "running")
    assert audit().difference is None
    assert audit_usage().differences == []
    Instance.objects.update(updated_at=Now() - timedelta(minutes=1))
    assert reconcile(host.pk, simulated_host) == []


def test_restored_rows_trust_no_card_and_no_hold(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    reservation = make_reservation()
    used = launch(make_order())
    work([Job.objects.get(kind="launch").pk], simulated_host)
    doomed = delete(used, "user:ann", "ann")
    upload = HostImage.objects.create(host=host, digest="0" * 64, upload="half")

    done = settle(1000)

    assert (done.hosts, done.reservations, done.cards, done.jobs) == (1, 1, 3, 0)
    held = CardClaim.objects.get(released_at=None)
    assert held.consumer == used.uuid
    assert {card.condition for card in host.cards.exclude(pk=held.card_id)} == {"dirty"}
    reservation.refresh_from_db()
    assert reservation.state == "released"
    doomed.refresh_from_db()
    assert doomed.state == "queued"
    upload.refresh_from_db()
    assert upload.upload == "", "a volume that may be whole by now would be deleted"
    host.refresh_from_db()
    assert (host.connection, host.last_seen_at) == ("unknown", None)
    assert launch_number() > used.pk + 1000
    assert audit().difference is None


def launch_number() -> int:
    """Return the number that the next instance gets."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence('instances_instance', 'id'))"
        )
        (number,) = cursor.fetchone()
    return int(number)


@pytest.mark.parametrize("is_taken", [False, True])
def test_adopted_guest_has_its_address_again(
    host: Host,
    simulated_host: SimulatedHypervisor,
    settings: Settings,
    tmp_path: Path,
    is_taken: bool,
) -> None:
    settings.IMAGE_FOLDER = str(tmp_path)
    make_network(host)
    image = make_disk_image(tmp_path)
    order = make_order(plan=make_plan(disk_mib=64).slug, image=image.slug)
    backup = transaction.savepoint()
    instance = launch(order)
    work([Job.objects.get(kind="launch").pk], simulated_host)
    address = AddressClaim.objects.get().address
    transaction.savepoint_rollback(backup)
    reconcile(host.pk, simulated_host)
    if is_taken:
        adopt_address(host, uuid.uuid4(), address)

        with pytest.raises(CannotAdopt, match=f"Its address {address}"):
            adopted(order_for(host, instance), simulated_host)
        return

    adopted(order_for(host, instance), simulated_host)

    held = AddressClaim.objects.get()
    assert (held.address, held.consumer) == (address, instance.uuid)
    assert reconcile(host.pk, simulated_host) == []
