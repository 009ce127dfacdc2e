"""Have the rows follow what a host reports of its cards; never a claim.

Both functions run in the caller's transaction, which holds the host's lock.
"""

from datetime import datetime

from django.db.models import Exists, OuterRef

from inventory.card_checks import condition_after_return
from inventory.cards import find_cards, identity_of
from inventory.choices import (
    OK_OUTCOMES,
    CardCondition,
    CheckKind,
    DiscrepancyKind,
)
from inventory.discovery import (
    Changes,
    Finding,
    KnownCard,
    KnownFunction,
    KnownNode,
    compare_cards,
    compare_nodes,
    has_booted,
)
from inventory.enrolment import add_card
from inventory.ledger import Actor, change_condition
from inventory.models import (
    Card,
    CardClaim,
    Discrepancy,
    Host,
    HostCpu,
    PciId,
)
from inventory.observation import Observation

ACTOR = "system:reconcile"
_IN_WORK = (CardCondition.SANITISING, CardCondition.TESTING)


def follow(host: Host, seen: Observation, began: datetime) -> list[Finding]:
    """Apply what was seen to the cards of the locked host; return what differs.

    began: the database's time before the look. What changed since then is left for the
    next look. Six queries, and some for each card that changed.
    """
    models = dict(PciId.objects.values_list("pci_id", "gpu_model__slug"))
    cards = {
        card.pk: card
        for card in host.cards.exclude(
            condition=CardCondition.RETIRED
        ).prefetch_related("functions")
        if card.enrolled_at <= began
    }
    found = find_cards(seen.facts, models)
    changes = compare_cards(
        seen.facts,
        found,
        _known(host, list(cards.values())),
        _elsewhere(host, [identity_of(f.card, seen.facts.host_uuid)[0] for f in found]),
    )
    recent = {pk for pk, card in cards.items() if card.condition_changed_at > began}
    changes.findings = [
        f
        for f in changes.findings
        if f.card_id not in recent or f.kind is DiscrepancyKind.GROUP_CHANGED
    ]
    _apply(host, changes, {pk: c for pk, c in cards.items() if pk not in recent})
    findings = compare_nodes(seen.facts, _known_nodes(host))
    findings += _boot(host, seen, began)
    findings += [f for f in changes.findings if not _is_taken_over(host, f)]
    findings += _new_cards(host, changes)
    return findings


def _apply(host: Host, changes: Changes, cards: dict[int, Card]) -> None:
    for pk in changes.vanished:
        if pk in cards:
            why = Actor(ACTOR, f"{host} no longer reports it at {cards[pk].slot_path}")
            change_condition(cards[pk], CardCondition.MISSING, why)
    for pk in changes.returned:
        if pk in cards:
            to = condition_after_return(cards[pk])
            change_condition(cards[pk], to, Actor(ACTOR, f"{host} reports it again"))
    for found in changes.new:
        add_card(host, found, Actor(ACTOR, f"{host} reports it for the first time"))


def _is_taken_over(host: Host, finding: Finding) -> bool:
    """Take over new numbers of IOMMU groups once the card has passed a test with them.

    A card that is on sale is first sent to that test: whoever numbered the groups anew has
    booted the host or put the card in again. One that somebody holds is left as it is.
    """
    if finding.kind is not DiscrepancyKind.GROUP_CHANGED or finding.card_id is None:
        return False
    card = Card.objects.get(pk=finding.card_id)
    is_held = card.claims.filter(released_at=None).exists()
    if is_held or card.condition != CardCondition.READY:
        return False
    told = Discrepancy.objects.filter(
        host=host, kind=finding.kind, subject=finding.subject, resolved_at=None
    ).first()
    passed = told is not None and card.checks.filter(
        kind=CheckKind.TEST, outcome__in=OK_OUTCOMES, started_at__gt=told.first_seen_at
    )
    if not passed:
        why = Actor(ACTOR, f"{host} has numbered its IOMMU groups anew: checked again")
        change_condition(card, CardCondition.UNVERIFIED, why)
        return False
    for number, group in finding.groups:
        card.functions.filter(number=number).update(iommu_group=group)
    return True


def _known(host: Host, cards: list[Card]) -> list[KnownCard]:
    claimed = set(
        CardClaim.objects.filter(card__host=host, released_at=None).values_list(
            "card_id", flat=True
        )
    )
    nodes = dict(host.nodes.values_list("pk", "number"))
    return [
        KnownCard(
            card_id=card.pk,
            identity=card.identity,
            slot_path=card.slot_path,
            node=nodes[card.numa_node_id],
            condition=CardCondition(card.condition),
            functions=tuple(
                KnownFunction(f.number, f.pci_id, f.iommu_group, f.driver)
                for f in card.functions.all()
            ),
            is_idle=card.pk not in claimed and card.condition not in _IN_WORK,
        )
        for card in cards
    ]


def _known_nodes(host: Host) -> list[KnownNode]:
    cpus: dict[int, set[int]] = {}
    rows = HostCpu.objects.filter(numa_node__host=host)
    for node_id, number in rows.values_list("numa_node_id", "number"):
        cpus.setdefault(node_id, set()).add(number)
    return [
        KnownNode(
            node.number,
            frozenset(cpus.get(node.pk, ())),
            node.ordinary_memory_mib,
            {int(size): count for size, count in node.hugepages.items()},
        )
        for node in host.nodes.all()
    ]


def _elsewhere(host: Host, identities: list[str]) -> dict[str, tuple[int, str]]:
    """Return those of `identities` that are known on other hosts; not the whole fleet."""
    rows = Card.objects.filter(identity__in=identities, identity_is_weak=False).exclude(
        host=host
    )
    return {
        identity: (pk, f"{name} {slot}")
        for identity, pk, name, slot in rows.exclude(
            condition=CardCondition.RETIRED
        ).values_list("identity", "pk", "host__name", "slot_path")
    }


def booted_since(host: Host, seen: Observation, began: datetime) -> bool:
    """Say whether the host has booted since the look that its row keeps."""
    cpus = sum(len(core.cpus) for node in seen.facts.nodes for core in node.cores)
    passed_s = (
        (began - host.reconciled_at).total_seconds() if host.reconciled_at else 0.0
    )
    return has_booted(host.cpu_seconds, seen.cpu_seconds, passed_s, cpus)


def _boot(host: Host, seen: Observation, began: datetime) -> list[Finding]:
    """After a boot every card that nobody holds is checked before it is sold again."""
    held = CardClaim.objects.filter(card=OuterRef("pk"), released_at=None)
    unheld = host.cards.filter(~Exists(held))
    if booted_since(host, seen, began):
        for card in unheld.filter(condition=CardCondition.READY):
            why = Actor(ACTOR, f"{host} has booted: every card is checked again")
            change_condition(card, CardCondition.UNVERIFIED, why)
    elif not _is_open(host, DiscrepancyKind.BOOT_CHANGED):
        return []
    waiting = unheld.filter(
        condition__in=[CardCondition.UNVERIFIED, CardCondition.TESTING]
    ).count()
    if not waiting:
        return []
    return [
        Finding(
            DiscrepancyKind.BOOT_CHANGED,
            "boot",
            f"{host} has booted: {waiting} cards are still to be checked",
        )
    ]


def _new_cards(host: Host, changes: Changes) -> list[Finding]:
    """A card that came by itself is told of until it has been checked."""
    slots = {found.card.slot_path for found in changes.new}
    slots.update(
        Discrepancy.objects.filter(
            host=host, kind=DiscrepancyKind.CARD_NEW, resolved_at=None
        ).values_list("subject", flat=True)
    )
    waiting = host.cards.filter(
        slot_path__in=slots,
        condition__in=[
            CardCondition.UNVERIFIED,
            CardCondition.TESTING,
            CardCondition.SANITISING,
        ],
    )
    return [
        Finding(
            DiscrepancyKind.CARD_NEW,
            card.slot_path,
            f"{card.identity} is new at {card.slot_path}; it is checked before it is sold",
            card_id=card.pk,
        )
        for card in waiting
    ]


def _is_open(host: Host, kind: DiscrepancyKind) -> bool:
    return Discrepancy.objects.filter(host=host, kind=kind, resolved_at=None).exists()
