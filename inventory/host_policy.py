"""Change what people decided about a host; claims that are there stay."""

from django.db import transaction
from django.db.models.functions import Now

from inventory.choices import CardCondition, HostConnection, HostPolicy
from inventory.exceptions import TransitionForbidden
from inventory.host_state import note_cause
from inventory.ledger import Actor, change_condition, clock, lock_host, refresh_shape
from inventory.models import Alert, CardClaim, Discrepancy, Host, NodeClaim

_REASON_CHARS = 500


def set_policy(host_id: int, policy: HostPolicy, actor: Actor) -> Host:
    """Have the host follow `policy` from the next claim on.

    A host that leaves maintenance is unknown until a look that began afterwards has
    compared it whole (instances.reconcile). Raises TransitionForbidden for a retired host,
    and for one that is to be retired while something on it is claimed.
    """
    with transaction.atomic():
        host = lock_host(host_id)
        if host.policy == HostPolicy.RETIRED:
            raise TransitionForbidden(
                f"{host} is retired: its cards have left the fleet, and it stays retired"
            )
        if policy is HostPolicy.RETIRED:
            _retire_cards(host, actor)
        if host.policy == HostPolicy.MAINTENANCE and policy != HostPolicy.MAINTENANCE:
            host.connection = HostConnection.UNKNOWN
        host.policy = policy
        host.policy_changed_at = clock()
        host.policy_reason = f"{actor.reason} ({actor.name})"[:_REASON_CHARS]
        host.save(
            update_fields=["policy", "policy_changed_at", "policy_reason", "connection"]
        )
        # The next look is due at once, whichever way the host went.
        Host.objects.filter(pk=host.pk).update(reconcile_due_at=Now(), failed_looks=0)
        if host.connection != HostConnection.OK:
            note_cause(host.pk, "not compared yet since its maintenance")
        refresh_shape(host)
    return host


def _retire_cards(host: Host, actor: Actor) -> None:
    """Take all that is on the locked host out of the fleet, with what is told about it."""
    holders = set(
        NodeClaim.objects.filter(numa_node__host=host, released_at=None).values_list(
            "consumer", flat=True
        )
    ) | set(
        CardClaim.objects.filter(card__host=host, released_at=None).values_list(
            "consumer", flat=True
        )
    )
    if holders:
        raise TransitionForbidden(
            f"{host} still holds {len(holders)} instances: drain it and wait until they "
            "are gone, or force their release if the machine itself is gone"
        )
    for card in host.cards.exclude(condition=CardCondition.RETIRED):
        # What is missing or quarantined may leave the fleet; the rest is quarantined first.
        if card.condition not in (CardCondition.QUARANTINED, CardCondition.MISSING):
            change_condition(card, CardCondition.QUARANTINED, actor)
        change_condition(card, CardCondition.RETIRED, actor)
    now = clock()
    # Nobody looks at a retired host again, so nothing else would ever end these.
    for subject in ({"host": host}, {"card__host": host}):
        Discrepancy.objects.filter(**subject, resolved_at=None).update(resolved_at=now)
        Alert.objects.filter(**subject, cleared_at=None).update(
            cleared_at=now, cleared_by=actor.name
        )
