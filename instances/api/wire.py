"""Inside words to the API's words: the one place that knows Linode's formats."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils.crypto import salted_hmac

from instances.models import Account, Instance
from instances.moments import time_from as time_from
from instances.moments import time_of as time_of
from inventory.addresses import mac_of, slaac_of
from inventory.models import Card

# Linode API v4, PlacementGroup "placement_group_type"; the only one there is.
ANTI_AFFINITY = "anti_affinity:local"


def number_of(amount: Decimal) -> int | float:
    """Return the amount as a JSON number; a Decimal would become a string."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def host_uuid_of(instance: Instance) -> str:
    """Return an opaque value in the form of Linode's host_uuid.

    It tells nothing of the host: with the real one, customers could map the fleet.
    """
    return salted_hmac(
        "instances.api.host_uuid", str(instance.uuid), algorithm="sha1"
    ).hexdigest()


def gpu_id_of(card: Card, account: Account) -> str:
    """Return the card's opaque, lasting id; another for each account.

    Two customers who had the same card cannot tell, nor count the fleet by it.
    """
    held = f"{account.pk} {card.pk}"
    digest = salted_hmac("instances.api.gpu_id", held, algorithm="sha256")
    return digest.hexdigest()[:32]


def euuid_of(account: Account) -> str:
    """Return an opaque, lasting id in the form of Linode's account euuid."""
    digest = salted_hmac("instances.api.euuid", str(account.pk)).hexdigest()
    return str(UUID(digest[:32])).upper()


def ipv6_of(instance: Any) -> str | None:
    """Return the address that the guest gives itself, as Linode writes it."""
    if not instance.ipv6_prefix:
        return None
    return f"{slaac_of(str(instance.ipv6_prefix), mac_of(str(instance.ipv4)))}/128"
