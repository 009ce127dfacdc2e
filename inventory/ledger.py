"""Claim and release cards, CPUs and memory, and tell the ledger; the only writer of both.

Every function runs in the caller's transaction and locks the host row first, so that the
claims of one host are made one after another; the constraints are the last word.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, connection
from django.db.models import F

from inventory.choices import CARD_TRANSITIONS, CardCondition, CardEventKind
from inventory.exceptions import NotClaimable, StaleState, TransitionForbidden
from inventory.models import (
    Card,
    CardCheck,
    CardClaim,
    CardEvent,
    Host,
    NodeClaim,
    NumaNode,
)
from inventory.shape import shape_of
from inventory.snapshots import snapshots_of
from inventory.topology import NodeShare


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it and why, as the ledger keeps it.

    name: user:NAME, account:ID, job:ID or system:PART.
    """

    name: str
    reason: str


def clock() -> datetime:
    """Return the database's time of this moment, not of the transaction's start.

    One clock for all machines: under a host's lock, its history never runs backwards.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    return now


def lock_host(host_id: int) -> Host:
    """Lock the host row: whoever changes its claims or cards holds this first."""
    return Host.objects.select_for_update(of=("self",)).get(pk=host_id)


def refresh_shape(host: Host) -> None:
    """Derive the locked host's search key anew from the claims; five queries."""
    host.free_shape = shape_of(snapshots_of([host])[0])
    Host.objects.filter(pk=host.pk).update(free_shape=host.free_shape)


def claim(
    host: Host, shares: Iterable[NodeShare], consumer: UUID, actor: Actor
) -> None:
    """Give `consumer` what `shares` name on the locked `host`.

    Raises NotClaimable if the database refuses; the caller's transaction is then broken.
    """
    shares = list(shares)
    nodes = {node.number: node for node in NumaNode.objects.filter(host=host)}
    now = clock()
    try:
        NodeClaim.objects.bulk_create(
            NodeClaim(
                numa_node=nodes[share.node],
                consumer=consumer,
                cpus=list(share.cpus),
                vcpus=share.vcpus,
                memory_mib=share.memory_mib,
                claimed_at=now,
            )
            for share in shares
        )
        claims = CardClaim.objects.bulk_create(
            CardClaim(card_id=card_id, consumer=consumer, claimed_at=now)
            for share in shares
            for card_id in share.card_ids
        )
    except IntegrityError as error:
        raise NotClaimable(str(error)) from error
    CardEvent.objects.bulk_create(
        CardEvent(
            card_id=card_claim.card_id,
            at=now,
            kind=CardEventKind.CLAIMED,
            from_condition=CardCondition.READY,
            to_condition=CardCondition.READY,
            actor=actor.name,
            reason=actor.reason,
            consumer=consumer,
            claim=card_claim,
        )
        for card_claim in claims
    )
    refresh_shape(host)


def release(consumer: UUID, actor: Actor) -> list[int]:
    """End every open claim of `consumer`, by claim and never by address.

    The caller has proof that the consumer's domain is absent. A ready card becomes dirty;
    one that is quarantined or missing stays so. Returns the ids of the hosts on which
    something was released, none if nothing was held, which is no error.
    """
    host_ids = sorted(
        set(
            NodeClaim.objects.filter(consumer=consumer, released_at=None).values_list(
                "numa_node__host_id", flat=True
            )
        )
    )
    for host_id in host_ids:
        _release_on(lock_host(host_id), consumer, actor)
    return host_ids


def _release_on(host: Host, consumer: UUID, actor: Actor) -> None:
    now = clock()
    open_claims = list(
        CardClaim.objects.filter(
            consumer=consumer, released_at=None, card__host=host
        ).select_related("card")
    )
    NodeClaim.objects.filter(
        consumer=consumer, released_at=None, numa_node__host=host
    ).update(released_at=now)
    CardClaim.objects.filter(pk__in=[c.pk for c in open_claims]).update(released_at=now)
    CardEvent.objects.bulk_create(
        CardEvent(
            card=card_claim.card,
            at=now,
            kind=CardEventKind.RELEASED,
            from_condition=card_claim.card.condition,
            to_condition=card_claim.card.condition,
            actor=actor.name,
            reason=actor.reason,
            consumer=consumer,
            claim=card_claim,
        )
        for card_claim in open_claims
    )
    for card_claim in open_claims:
        if card_claim.card.condition == CardCondition.READY:
            change_condition(
                card_claim.card, CardCondition.DIRTY, actor, claim=card_claim
            )
    refresh_shape(host)


def change_condition(
    card: Card,
    to: CardCondition,
    actor: Actor,
    *,
    check: CardCheck | None = None,
    claim: CardClaim | None = None,
) -> None:
    """Move `card` to another condition by a guarded update, and tell the ledger.

    The caller holds the host's lock and refreshes its shape. Raises TransitionForbidden for
    a step that the life cycle lacks and StaleState if the row changed since it was read.
    check: the evidence for the step. claim: the claim that it is a consequence of.
    """
    before = CardCondition(card.condition)
    if to not in CARD_TRANSITIONS[before]:
        raise TransitionForbidden(f"{card} cannot go from {before} to {to}")
    now = clock()
    changed = Card.objects.filter(pk=card.pk, condition=before).update(
        condition=to, condition_changed_at=now
    )
    if not changed:
        raise StaleState(f"{card} is no longer {before}")
    card.condition = to
    card.condition_changed_at = now
    CardEvent.objects.create(
        card=card,
        at=now,
        kind=CardEventKind.CONDITION,
        from_condition=before,
        to_condition=to,
        actor=actor.name,
        reason=actor.reason,
        check_done=check,
        claim=claim,
        consumer=claim.consumer if claim else None,
    )


def record_place(card: Card, kind: CardEventKind, actor: Actor) -> None:
    """Append where `card` is from now on: it was enrolled, or it moved."""
    CardEvent.objects.create(
        card=card,
        at=clock(),
        kind=kind,
        from_condition="" if kind is CardEventKind.ENROLLED else card.condition,
        to_condition=card.condition,
        actor=actor.name,
        reason=actor.reason,
        host_id=card.host_id,
        slot_path=card.slot_path,
    )


def open_card_claims(*consumers: UUID) -> list[CardClaim]:
    """Return the consumers' open claims with card and node, by slot; one query."""
    return list(
        CardClaim.objects.filter(consumer__in=consumers, released_at=None)
        .select_related("card__host", "card__numa_node", "card__gpu_model")
        .order_by("card__numa_node__number", "card__slot_path")
    )


def open_node_claims(*consumers: UUID) -> list[NodeClaim]:
    """Return the consumers' open claims on nodes, by node number; one query."""
    return list(
        NodeClaim.objects.filter(consumer__in=consumers, released_at=None)
        .select_related("numa_node__host__region")
        .order_by(F("numa_node__number"))
    )
