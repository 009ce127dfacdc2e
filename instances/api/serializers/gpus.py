"""An instance's GPUs, topology and attestation as plain dicts, from what it holds.

A customer learns what the guest could measure: node numbers, CPU numbers, models. What
would tell hosts or other customers apart is left out: the host's name, PCI slots, IOMMU
groups, serial numbers, CPUs that are not the guest's own, and what a check printed, which
names all of these.
"""

from typing import Literal, cast

from instances.api import wire
from instances.api.shapes import gpus as shapes
from instances.holdings import Holding, NodeHolding, holding_of, ports_of
from instances.models import Account, Instance
from inventory.attestation import CardEvidence, digest_of, evidence_for, report_digest
from inventory.card_reports import reported_by
from inventory.choices import CheckKind
from inventory.console_report import bytes_covered
from inventory.models import CardCheck, CardReport

_KINDS: dict[CheckKind, Literal["wipe", "test"]] = {
    CheckKind.SANITISE: "wipe",
    CheckKind.TEST: "test",
}


def _held_by(instance: Instance) -> Holding | None:
    """Return what it holds now; what it held once is no customer's any more."""
    holding = holding_of(instance)
    return holding if holding is not None and holding.is_open else None


def gpus_json(instance: Instance) -> list[shapes.Gpu]:
    """Return the cards in the guest's order; five queries."""
    holding = _held_by(instance)
    if holding is None:
        return []
    ports = ports_of(holding)
    reported = reported_by(instance.uuid)
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
            "reported": (
                wire.time_of(reported[card.pk]) if card.pk in reported else None
            ),
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


def attestation_json(instance: Instance) -> shapes.Attestation:
    """Return what was done to the cards before; two queries."""
    evidence = evidence_for(instance.uuid, instance.claim_set)
    gpus = [_attested(each, instance.account) for each in evidence]
    said = {"linode_id": instance.pk, "gpus": gpus}
    return {"linode_id": instance.pk, "gpus": gpus, "digest": digest_of(said)}


def _attested(evidence: CardEvidence, account: Account) -> shapes.AttestedGpu:
    return {
        "id": wire.gpu_id_of(evidence.card, account),
        "model": evidence.card.gpu_model.slug,
        "since": wire.time_of(evidence.claim.claimed_at),
        "was_used": evidence.was_used,
        "is_wiped": evidence.has_passed(CheckKind.SANITISE),
        "is_tested": evidence.has_passed(CheckKind.TEST),
        "checks": [_check_json(check) for check in evidence.checks],
    }


def _check_json(check: CardCheck) -> shapes.AttestedCheck:
    return {
        "kind": _KINDS[CheckKind(check.kind)],
        "result": cast(shapes.Result, check.outcome),
        "begin": wire.time_of(check.started_at),
        "end": wire.time_of(check.finished_at),
        "bytes": bytes_covered(check.console),
        "console_digest": check.console_digest or None,
        "report_digest": report_digest(check),
    }


def report_json(report: CardReport, instance: Instance) -> shapes.GpuReport:
    """Needs the report's claim."""
    return {
        "linode_id": instance.pk,
        "gpu": wire.gpu_id_of(report.claim.card, instance.account),
        "problem": cast(shapes.ProblemWord, report.problem),
        "text": report.text,
        "reported": wire.time_of(report.reported_at),
    }
