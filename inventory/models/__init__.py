"""What the company owns: regions, GPU models, hosts, cards, and who holds what."""

from inventory.models.card import Card, CardFunction
from inventory.models.claim import CardClaim, NodeClaim
from inventory.models.event import CardEvent
from inventory.models.gpu_model import GpuModel, PciId
from inventory.models.host import Host, HostCpu, NumaNode
from inventory.models.region import Region

__all__ = [
    "Card",
    "CardClaim",
    "CardEvent",
    "CardFunction",
    "GpuModel",
    "Host",
    "HostCpu",
    "NodeClaim",
    "NumaNode",
    "PciId",
    "Region",
]
