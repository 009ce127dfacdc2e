"""Change what people decided about a host; claims that are there stay."""

from django.db import transaction

from inventory.choices import HostPolicy
from inventory.exceptions import TransitionForbidden
from inventory.ledger import lock_host
from inventory.models import Host


def set_policy(host_id: int, policy: HostPolicy) -> Host:
    """Have the host follow `policy` from the next claim on.

    Raises TransitionForbidden for a retired host: it is enrolled anew, not revived.
    """
    with transaction.atomic():
        host = lock_host(host_id)
        if host.policy == HostPolicy.RETIRED:
            raise TransitionForbidden(f"{host} is retired: enrol it under a new name")
        host.policy = policy
        host.save(update_fields=["policy"])
    return host
