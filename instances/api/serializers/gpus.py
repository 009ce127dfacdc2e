"""An instance's GPUs and topology as plain dicts, from what it holds.

A customer learns what the guest could measure: node numbers, CPU numbers, models. What
would tell hosts or other customers apart is left out: the host's name, PCI slots, IOMMU
groups, serial numbers and CPUs that are not the guest's own.
"""

from instances.api import wire
from instances.api.shapes import gpus as shapes
from instances.holdings import Holding, NodeHolding, holding_of, ports_of
from instances.models import Account, Instance


def _held_by(instance: Instance) -> Holding | None:
    """Return what it holds now; what it held once is no customer's any more."""
    holding = holding_of(instance)
    return holding if holding is not None and holding.is_open else None


def gpus_json(instance: Instance) -> list[shapes.Gpu]:
    """Return the cards in the guest's order; four queries."""
    holding = _held_by(instance)
    if holding is None:
        return []
    ports = ports_of(holding)
    return [
        {
            "id": wire.gpu_id_of(card, instance.account),
            "model": card.gpu_model.slug,
            "label": card.gpu_model.name,
            "memory_mib": card.gpu_model.memory_mib,
            "pci_address": str(ports[card.pk].addresses[0]),
            "pci_functions": [str(each) for each in ports[card.pk].addresses],
            "node": ports[card.pk].cell,
            "host_node": node.number,
        }
        for node in holding.nodes
        for card in node.cards
    ]


def topology_json(instance: Instance) -> shapes.Topology:
    """Return the guest's nodes with CPUs, memory and cards; four queries."""
    holding = _held_by(instance)
    nodes = _nodes(holding, instance.account) if holding else []
    return {
        "linode_id": instance.pk,
        "vcpus": sum(len(node["pins"]) for node in nodes),
        "memory_mib": sum(node["memory_mib"] for node in nodes),
        "nodes": nodes,
    }


def _nodes(holding: Holding, account: Account) -> list[shapes.TopologyNode]:
    ports = ports_of(holding)

    def gpus_on(node: NodeHolding) -> list[shapes.TopologyGpu]:
        return [
            {
                "id": wire.gpu_id_of(card, account),
                "pci_address": str(ports[card.pk].addresses[0]),
            }
            for card in node.cards
        ]

    return [
        {
            "node": number,
            "host_node": node.number,
            "memory_mib": node.memory_mib,
            "hugepage_kib": node.hugepage_kib,
            "pins": [{"vcpu": pin.vcpu, "host_cpu": pin.cpu} for pin in node.pins],
            "gpus": gpus_on(node),
        }
        for number, node in enumerate(holding.nodes)
    ]
