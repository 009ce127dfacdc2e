"""What the company owns: regions, GPU models, hosts, cards, and who holds what."""

from inventory.models.address import AddressClaim, AddressPool
from inventory.models.alert import Alert
from inventory.models.card import Card, CardFunction
from inventory.models.check import CardCheck
from inventory.models.check_image import CheckImage
from inventory.models.claim import CardClaim, NodeClaim
from inventory.models.discrepancy import Discrepancy
from inventory.models.event import CardEvent
from inventory.models.gpu_model import GpuModel, PciId
from inventory.models.guest_setup import GuestSetup
from inventory.models.host import Host, HostCpu, NumaNode
from inventory.models.outage import HostOutage
from inventory.models.region import Region
from inventory.models.report import CardReport

__all__ = [
    "AddressClaim",
    "AddressPool",
    "Alert",
    "Card",
    "CardCheck",
    "CardClaim",
    "CardEvent",
    "CardFunction",
    "CardReport",
    "CheckImage",
    "Discrepancy",
    "GpuModel",
    "GuestSetup",
    "Host",
    "HostCpu",
    "HostOutage",
    "NodeClaim",
    "NumaNode",
    "PciId",
    "Region",
]
