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

from inventory import claim_sql, prepared
from inventory.choices import CARD_TRANSITIONS, CardCondition, CardEventKind
from inventory.exceptions import NotClaimable, StaleState, TransitionForbidden
from inventory.free_host import free_host
from inventory.models import Card, CardCheck, CardClaim, CardEvent, Host, NodeClaim
from inventory.shape import shape_of
from inventory.topology import HostSnapshot, NodeShare


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
    """Derive the locked host's search key anew from the claims; two statements."""
    host.free_shape = shape_of(free_host(host.pk))
    Host.objects.filter(pk=host.pk).update(free_shape=host.free_shape)


def claim(
    host: HostSnapshot,
    shares: Iterable[NodeShare],
    consumer: UUID,
    actor: Actor,
    *,
    is_hold: bool = False,
    claim_set: int = 1,
) -> None:
    """Give `consumer` what `shares` name on `host`; one statement.

    host: what free_host() gave since the caller locked it. is_hold: the cards are kept for
    somebody, and take_up() comes before any guest. claim_set: another than the one that
    the consumer has open, if it is to hold both for a time; the caller then refreshes the
    host's shape, for one guest is one, however much it holds. Raises NotClaimable if the
    database refuses; the caller's transaction is then broken.
    """
    shares = list(shares)
    try:
        prepared.rows(
            claim_sql.CLAIM,
            {
                **_told(consumer, actor),
                "host": host.host_id,
                "shape": shape_of(host.less(shares)),
                "is_hold": is_hold,
                "claim_set": claim_set,
                "kind": CardEventKind.HELD if is_hold else CardEventKind.CLAIMED,
                "numbers": [share.node for share in shares],
                "cpus": [f"{{{','.join(map(str, s.cpus))}}}" for s in shares],
                "vcpus": [share.vcpus for share in shares],
                "memory_mib": [share.memory_mib for share in shares],
                "hugepage_kib": [share.hugepage_kib for share in shares],
                "cards": [card for share in shares for card in share.card_ids],
            },
        )
    except IntegrityError as error:
        raise NotClaimable(str(error)) from error


def adopt(
    host: Host,
    shares: Iterable[NodeShare],
    consumer: UUID,
    actor: Actor,
    *,
    claim_set: int = 1,
) -> datetime:
    """Give `consumer` what its guest was found with on the locked host; return since when.

    Its cards stay in the condition that they are in: nothing is known that would make them
    ready. Raises NotClaimable if somebody else holds any of it; the caller's transaction is
    then broken.
    """
    now = clock()
    nodes = {node.number: node for node in host.nodes.all()}
    held = {"consumer": consumer, "claim_set": claim_set, "claimed_at": now}
    try:
        for share in shares:
            NodeClaim.objects.create(
                numa_node=nodes[share.node],
                cpus=list(share.cpus),
                vcpus=share.vcpus,
                memory_mib=share.memory_mib,
                hugepage_kib=share.hugepage_kib,
                **held,
            )
            for card_id in share.card_ids:
                made = CardClaim.objects.create(
                    card_id=card_id, is_adopted=True, **held
                )
                _tell_of_adoption(made, actor)
    except IntegrityError as error:
        raise NotClaimable(str(error)) from error
    refresh_shape(host)
    return now


def _tell_of_adoption(made: CardClaim, actor: Actor) -> None:
    CardEvent.objects.create(
        card_id=made.card_id,
        at=made.claimed_at,
        kind=CardEventKind.ADOPTED,
        from_condition=made.card.condition,
        to_condition=made.card.condition,
        actor=actor.name,
        reason=actor.reason,
        consumer=made.consumer,
        claim=made,
    )


def _told(consumer: UUID, actor: Actor) -> dict[str, object]:
    return {"consumer": consumer, "actor": actor.name, "reason": actor.reason}


def lock_hosts_of(consumer: UUID) -> list[int]:
    """Lock the hosts on which `consumer` holds something; return their ids, sorted."""
    return [
        pk for (pk,) in prepared.rows(claim_sql.LOCK_HOSTS_OF, {"consumer": consumer})
    ]


def take_up(consumer: UUID, actor: Actor) -> None:
    """Turn what `consumer` holds into what a guest may use.

    The caller holds the lock of lock_hosts_of(). Raises NotClaimable if a card is no
    longer fit for sale; the caller's transaction is then broken.
    """
    try:
        prepared.rows(claim_sql.TAKE_UP, _told(consumer, actor))
    except IntegrityError as error:
        raise NotClaimable(str(error)) from error


def release(consumer: UUID, actor: Actor, claim_set: int | None = None) -> list[int]:
    """End every open claim of `consumer`, by claim and never by address.

    claim_set: end only that one. The caller has proof that the consumer's domain is
    absent, or has nothing of it, or that it never was anything but a hold. A ready card
    that was used becomes dirty; one that was held stays ready, and one that is quarantined
    or missing stays so. Returns the ids of the hosts on which something was open, none if
    nothing was held, which is no error.
    """
    host_ids = lock_hosts_of(consumer)
    for host_id in host_ids:
        _release_on(host_id, consumer, actor, claim_set)
    return host_ids


def _release_on(
    host_id: int, consumer: UUID, actor: Actor, claim_set: int | None
) -> None:
    used = prepared.rows(
        claim_sql.RELEASE,
        {
            **_told(consumer, actor),
            "host": host_id,
            "claim_set": claim_set,
            "shape": shape_of(free_host(host_id, consumer, claim_set)),
        },
    )
    if not used:
        return
    claims = CardClaim.objects.filter(pk__in=[pk for (pk,) in used])
    for card_claim in claims.select_related("card").order_by("card_id"):
        change_condition(card_claim.card, CardCondition.DIRTY, actor, claim=card_claim)


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
