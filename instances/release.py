"""Let go of all that an instance holds, and so of what it is billed for."""

from uuid import UUID

from instances.usage import end_usage
from inventory.address_claims import release_address
from inventory.ledger import Actor, release


def release_all(consumer: UUID, actor: Actor) -> list[int]:
    """End the consumer's open claims, its address and its usage; return the hosts' ids.

    In the caller's transaction, which has proof that the consumer's domain is absent.
    """
    host_ids = release(consumer, actor)
    release_address(consumer)
    end_usage(consumer)
    return host_ids
