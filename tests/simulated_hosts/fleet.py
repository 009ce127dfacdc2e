"""Take simulated hosts into the fleet of the database, their cards ready to be sold."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from django.db import transaction

from inventory.choices import CardCondition, CheckKind, CheckOutcome
from inventory.enrolment import EnrolmentOrder, enrol
from inventory.ledger import Actor, change_condition, clock, lock_host, refresh_shape
from inventory.models import AddressPool, Card, CardCheck, GuestSetup, Host
from tests.simulated_hosts.board import Board
from tests.simulated_hosts.store import NETWORK, HostStore

_ACTOR = Actor("lab:simulated-hosts", "a simulated card, not tested")


@dataclass(frozen=True, slots=True)
class FleetOrder:
    """delays: verb of the port -> seconds. prefix: hosts are PREFIX1, PREFIX2, ..."""

    count: int
    board: Board
    region: str = "us-east"
    prefix: str = "sim"
    delays: Mapping[str, float] = field(default_factory=dict)


def simulate(order: FleetOrder, folder: Path) -> Iterator[Host]:
    """Make and enrol the hosts that are missing, one by one; a host that is there stays.

    Raises EnrolmentRefused, with no row of the host that was refused.
    """
    for number in range(1, order.count + 1):
        name = f"{order.prefix}{number}"
        if Host.objects.filter(name=name).exists():
            continue
        store = HostStore(folder, name)
        store.create(order.board)
        for verb, seconds in order.delays.items():
            store.delay(verb, seconds)
        host = enrol(EnrolmentOrder(store.uri, order.region, name), _ACTOR.name).host
        _make_ready(host)
        yield host


@transaction.atomic
def _make_ready(host: Host) -> None:
    """Let the host sell at once: a thousand hosts' first checks would take hours."""
    lock_host(host.pk)
    _give_network(host)
    for card in host.cards.filter(condition=CardCondition.UNVERIFIED):
        change_condition(card, CardCondition.TESTING, _ACTOR)
        change_condition(card, CardCondition.READY, _ACTOR, check=_no_test(card))
    refresh_shape(host)


def _give_network(host: Host) -> None:
    """Let guests have addresses of 10.64.0.0/10, a /24 on each host."""
    GuestSetup.objects.create(host=host, network_name=NETWORK)
    number = AddressPool.objects.count()
    high, low = divmod(number, 256)
    subnet = f"10.{64 + high}.{low}"
    AddressPool.objects.create(
        name=host.name,
        region=host.region,
        host=host,
        network=f"{subnet}.0/24",
        first=f"{subnet}.10",
        last=f"{subnet}.250",
        gateway=f"{subnet}.1",
    )


def _no_test(card: Card) -> CardCheck:
    now = clock()
    return CardCheck.objects.create(
        card=card,
        kind=CheckKind.TEST,
        outcome=CheckOutcome.PASSED,
        finding=_ACTOR.reason,
        started_at=now,
        finished_at=now,
        actor=_ACTOR.name,
    )
