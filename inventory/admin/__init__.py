"""Staff pages of the inventory; the site finds them by importing this package."""

from inventory.admin.cards import CardAdmin
from inventory.admin.catalogue import GpuModelAdmin, RegionAdmin
from inventory.admin.guests import (
    AddressClaimAdmin,
    AddressPoolAdmin,
    GuestSetupAdmin,
)
from inventory.admin.health import (
    AlertAdmin,
    CardCheckAdmin,
    CheckImageAdmin,
    HostOutageAdmin,
)
from inventory.admin.history import CardClaimAdmin, CardEventAdmin, NodeClaimAdmin
from inventory.admin.hosts import HostAdmin

__all__ = [
    "AddressClaimAdmin",
    "AddressPoolAdmin",
    "AlertAdmin",
    "CardAdmin",
    "CardCheckAdmin",
    "CardClaimAdmin",
    "CardEventAdmin",
    "CheckImageAdmin",
    "GpuModelAdmin",
    "GuestSetupAdmin",
    "HostAdmin",
    "HostOutageAdmin",
    "NodeClaimAdmin",
    "RegionAdmin",
]
