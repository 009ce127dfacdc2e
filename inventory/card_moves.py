"""Take over that a card sits at another address: a person says so, the host confirms it.

Whoever looks at a host never moves a card by himself: that a serial number shows up
elsewhere may as well be a mistake.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from django.db.models.functions import Now

from inventory.card_checks import condition_after_return
from inventory.cards import CardForSale, find_cards, identity_of, sellable
from inventory.choices import (
    CardCondition,
    CardEventKind,
    DiscrepancyKind,
    HostPolicy,
)
from inventory.enrolment import observe, write_functions
from inventory.exceptions import StaleState, TransitionForbidden
from inventory.hypervisor.port import Hypervisor
from inventory.hypervisor.supervised import connect
from inventory.ledger import (
    Actor,
    change_condition,
    clock,
    lock_host,
    record_place,
    refresh_shape,
)
from inventory.models import Card, Discrepancy, Host, PciId
from inventory.topology import HostFacts

_IN_WORK = (CardCondition.SANITISING, CardCondition.TESTING)
_GONE = (CardCondition.MISSING, CardCondition.RETIRED)
# What is said about a place that the card has left; the next look tells of the new one.
_ABOUT_THE_PLACE = (
    DiscrepancyKind.CARD_MOVED,
    DiscrepancyKind.CARD_VANISHED,
    DiscrepancyKind.CARD_REPLACED,
    DiscrepancyKind.CARD_UNSELLABLE,
    DiscrepancyKind.NUMA_CHANGED,
    DiscrepancyKind.GROUP_CHANGED,
    DiscrepancyKind.DRIVER_CHANGED,
    DiscrepancyKind.FUNCTIONS_CHANGED,
)


def accept_move(
    card_id: int,
    host_id: int,
    slot_path: str,
    actor: Actor,
    hypervisor: Hypervisor | None = None,
) -> Card:
    """Have the card's row follow it to `slot_path` of the host, where it is looked for now.

    It is checked before it is sold. Blocks up to the driver's deadlines. Raises
    TransitionForbidden with the reason, HypervisorError if the host cannot be asked.
    """
    to = Host.objects.get(pk=host_id)
    facts = observe(hypervisor or connect(to.libvirt_uri))
    if facts.host_uuid != str(to.host_uuid):
        raise TransitionForbidden(
            f"{to.libvirt_uri} answers as another host than {to}: find out which it is"
        )
    models = dict(PciId.objects.values_list("pci_id", "gpu_model__slug"))
    with transaction.atomic(), _both_locked(card_id, host_id) as (card, host):
        _check_card(card, host, slot_path)
        _move(card, host, _found(card, slot_path, facts, models), actor)
    return card


@contextmanager
def _both_locked(card_id: int, host_id: int) -> Iterator[tuple[Card, Host]]:
    """Give the card and the host it is to be on, both hosts locked, the lower id first.

    At the end both search keys are derived anew.
    """
    from_id = Card.objects.values_list("host_id", flat=True).get(pk=card_id)
    hosts = {pk: lock_host(pk) for pk in sorted({from_id, host_id})}
    card = Card.objects.select_related("host", "gpu_model").get(pk=card_id)
    if card.host_id != from_id:
        raise StaleState(f"{card} was moved meanwhile")
    yield card, hosts[host_id]
    for host in hosts.values():
        refresh_shape(host)
    Host.objects.filter(pk__in=hosts).update(reconcile_due_at=Now())


def _check_card(card: Card, host: Host, slot_path: str) -> None:
    if (card.host_id, card.slot_path) == (host.pk, slot_path):
        raise TransitionForbidden(f"{card} is known at that address already")
    if card.claims.filter(released_at=None).exists():
        raise TransitionForbidden(
            f"{card} is in use: delete the instance that holds it, or force the release "
            "of its claims, then accept the move"
        )
    if card.condition == CardCondition.RETIRED or card.condition in _IN_WORK:
        raise TransitionForbidden(
            f"{card} is {card.get_condition_display()}: it cannot move now"
        )
    if host.policy == HostPolicy.RETIRED:
        raise TransitionForbidden(f"{host} is retired: it takes no card")
    other = host.cards.filter(slot_path=slot_path).exclude(condition__in=_GONE).first()
    if other is not None:
        raise TransitionForbidden(
            f"{host} {slot_path} is taken by card {other.pk}: that must be missing, "
            "retired or moved first"
        )


def _found(
    card: Card, slot_path: str, facts: HostFacts, models: dict[str, str]
) -> CardForSale:
    findings = find_cards(facts, models)
    here = [f for f in findings if f.card.slot_path == slot_path]
    for finding in here:
        if identity_of(finding.card, facts.host_uuid)[0] != card.identity:
            continue
        for_sale = sellable([finding])
        if for_sale:
            return for_sale[0]
        raise TransitionForbidden("; ".join(finding.problems))
    raise TransitionForbidden(f"{card.identity} is not at {slot_path} now: look again")


def _move(card: Card, host: Host, found: CardForSale, actor: Actor) -> None:
    node = host.nodes.filter(number=found.node).first()
    if node is None:
        raise TransitionForbidden(
            f"{host} has no NUMA node {found.node} in our rows: the host has changed"
        )
    card.host, card.numa_node, card.slot_path = host, node, found.card.slot_path
    card.save(update_fields=["host", "numa_node", "slot_path"])
    card.functions.all().delete()
    write_functions(card, found)
    record_place(card, CardEventKind.MOVED, actor)
    # Who is dirty, unverified or quarantined is not sold anyway, and stays what it is.
    if card.condition == CardCondition.MISSING:
        change_condition(card, condition_after_return(card), actor)
    elif card.condition == CardCondition.READY:
        change_condition(card, CardCondition.UNVERIFIED, actor)
    Discrepancy.objects.filter(
        card=card, kind__in=_ABOUT_THE_PLACE, resolved_at=None
    ).update(resolved_at=clock())
