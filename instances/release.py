"""Let go of what an instance holds, and so of what it is billed for.

Every function runs in the caller's transaction, which has proof that nothing of what is
released is in use.
"""

from uuid import UUID

from django.db.models.functions import Now

from instances.models import Instance, PendingResize
from instances.usage import change_usage, end_usage
from inventory.address_claims import release_address
from inventory.ledger import Actor, lock_hosts_of, release


def release_all(consumer: UUID, actor: Actor) -> list[int]:
    """End the consumer's open claims, its address and its usage; return the hosts' ids."""
    PendingResize.objects.filter(instance__uuid=consumer).delete()
    host_ids = release(consumer, actor)
    release_address(consumer)
    end_usage(consumer)
    return host_ids


def take_next(instance_id: int, actor: Actor) -> None:
    """Give the instance the plan and claims of its resize, and release those it had.

    Nothing happens if there is no resize, which is so after it, too.
    """
    pending = _locked(instance_id)
    if pending is None:
        return
    instance = pending.instance
    Instance.objects.filter(pk=instance_id).update(
        plan=pending.plan, claim_set=pending.claim_set, updated_at=Now()
    )
    release(instance.uuid, actor, instance.claim_set)
    change_usage(instance, pending.plan)
    pending.delete()


def give_up_next(instance_id: int, actor: Actor) -> None:
    """Release the claims of the instance's resize, if there is one."""
    pending = _locked(instance_id)
    if pending is not None:
        release(pending.instance.uuid, actor, pending.claim_set)
        pending.delete()


def _locked(instance_id: int) -> PendingResize | None:
    # The host before the instance: so does whoever looks at a host.
    lock_hosts_of(Instance.objects.values_list("uuid", flat=True).get(pk=instance_id))
    return (
        PendingResize.objects.select_for_update(of=("self", "instance"))
        .select_related("instance__account", "plan")
        .filter(instance=instance_id)
        .first()
    )
