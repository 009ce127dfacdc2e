"""Reads that admin, API and jobs share; they open no transaction and change nothing."""

from collections import defaultdict
from uuid import UUID

from django.db.models import QuerySet

from flags.availability import open_flags
from instances.choices import ENDED_PHASES, ImageStatus
from instances.domain_xml import DomainSpec, GuestCell
from instances.models import Account, Image, Instance, Plan
from instances.placement import NumaPolicy, Request
from inventory.ledger import open_card_claims, open_node_claims
from inventory.models import CardFunction, Host, Region
from inventory.topology import PciAddress


def request_of(plan: Plan) -> Request:
    """Return what placement needs to know of a plan."""
    return Request(
        vcpus=plan.vcpus,
        memory_mib=plan.memory_mib,
        cards=plan.cards,
        gpu_model=plan.gpu_model.slug if plan.gpu_model else None,
        numa_policy=NumaPolicy(plan.numa_policy),
    )


def plans_for(account: Account | None) -> list[Plan]:
    """Return the plans that an account sees (None: nobody signed in); three queries."""
    plans = list(Plan.objects.filter(is_sold=True).select_related("gpu_model"))
    shown = open_flags({plan.flag_name for plan in plans}, account)
    return [p for p in plans if not p.flag_name or p.flag_name in shown]


def regions() -> QuerySet[Region]:
    """Return the regions that customers see."""
    return Region.objects.filter(is_open=True)


def images() -> QuerySet[Image]:
    """Return the images that customers see."""
    return Image.objects.exclude(status=ImageStatus.PENDING_UPLOAD)


def instances_of(account: Account) -> QuerySet[Instance]:
    """Return the account's instances that have not ended, oldest first, with relations."""
    return (
        Instance.objects.filter(account=account)
        .exclude(phase__in=ENDED_PHASES)
        .select_related("plan__gpu_model", "region", "image", "account")
        .order_by("pk")
    )


def host_of(instance: Instance) -> Host | None:
    """Return the host that the open claims are on; None if nothing is held."""
    claims = open_node_claims(instance.uuid)
    return claims[0].numa_node.host if claims else None


def spec_of(instance: Instance) -> DomainSpec | None:
    """Return the domain that the open claims describe; None if nothing is held.

    Three queries. The claims are the only home of host, node, CPUs and addresses.
    """
    return spec_of_consumer(instance.uuid, instance)


def spec_of_consumer(consumer: UUID, instance: Instance | None) -> DomainSpec | None:
    """As spec_of(), also for claims whose instance is unknown: then it boots nothing."""
    node_claims = open_node_claims(consumer)
    if not node_claims:
        return None
    card_claims = open_card_claims(consumer)
    functions: dict[int, list[CardFunction]] = defaultdict(list)
    for function in CardFunction.objects.filter(
        card__in=[claim.card_id for claim in card_claims]
    ).order_by("number"):
        functions[function.card_id].append(function)
    cells = tuple(
        GuestCell(
            node=claim.numa_node.number,
            cpus=tuple(claim.cpus[: claim.vcpus]),
            claimed_cpus=tuple(claim.cpus),
            memory_mib=claim.memory_mib,
            cards=tuple(
                tuple(
                    PciAddress.parse(f"{card_claim.card.slot_path}.{function.number}")
                    for function in functions[card_claim.card_id]
                )
                for card_claim in card_claims
                if card_claim.card.numa_node_id == claim.numa_node_id
            ),
        )
        for claim in node_claims
    )
    host = node_claims[0].numa_node.host
    if instance is None:
        return DomainSpec(str(consumer), "", "", host.domain_type, cells, "")
    return DomainSpec(
        uuid=str(instance.uuid),
        # Not the customer's label: two accounts may use one label on one host.
        name=f"gpucloud-{instance.pk}",
        title=f"{instance.label} ({instance.account.name})",
        domain_type=host.domain_type,
        cells=cells,
        kernel_path=instance.image.kernel_path,
        initrd_path=instance.image.initrd_path,
        cmdline=instance.image.cmdline,
        metadata=(
            ("id", str(instance.pk)),
            ("account", str(instance.account_id)),
            ("plan", instance.plan.slug),
            ("region", instance.region.slug),
            ("image", instance.image.slug),
        ),
    )
