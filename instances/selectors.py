"""Reads that admin, API and jobs share; they open no transaction and change nothing."""

from collections import defaultdict
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from itertools import chain
from uuid import UUID

from django.conf import settings
from django.db.models import F, Func, OuterRef, Prefetch, Q, QuerySet, Subquery

from flags.availability import open_gates
from instances.choices import (
    ENDED_PHASES,
    FirewallStatus,
    ImageStatus,
    ReservationState,
)
from instances.domain_devices import Nic
from instances.domain_record import InstanceRecord
from instances.domain_xml import DomainSpec, GuestCell
from instances.firewall_rules import Rules, rules_of
from instances.guest_disk import DiskImage, DiskPlan
from instances.models import (
    Account,
    Firewall,
    FirewallDevice,
    Image,
    Instance,
    PendingResize,
    Plan,
    Reservation,
    Tag,
)
from instances.placement import NumaPolicy, Request
from inventory.address_claims import open_addresses_of
from inventory.addresses import link_local_of
from inventory.choices import HostPolicy
from inventory.ledger import open_card_claims, open_node_claims
from inventory.models import (
    AddressClaim,
    CardClaim,
    CardFunction,
    GuestSetup,
    Host,
    NodeClaim,
    Region,
)
from inventory.models.guest_setup import setups_of
from inventory.topology import PciAddress


def request_of(plan: Plan) -> Request:
    """Return what placement needs to know of a plan."""
    return Request(
        vcpus=plan.vcpus,
        memory_mib=plan.memory_mib,
        cards=plan.cards,
        gpu_model=plan.gpu_model.slug if plan.gpu_model else None,
        numa_policy=NumaPolicy(plan.numa_policy),
        numa_nodes=plan.numa_nodes,
        hugepage_kib=plan.hugepage_kib,
        on_gpu_hosts=settings.PLAIN_PLANS_ON_GPU_HOSTS == "last",
    )


def plans_for(account: Account | None) -> QuerySet[Plan]:
    """Return the plans that an account sees (None: nobody signed in), with GPU models."""
    gates = open_gates(account)
    of_model = Q(gpu_model=None) | Q(gpu_model__flag_name__in=gates)
    plans = Plan.objects.filter(of_model, is_sold=True, flag_name__in=gates)
    return plans.select_related("gpu_model")


def regions_for(account: Account | None) -> QuerySet[Region]:
    """Return the regions that an account sees (None: nobody signed in)."""
    return Region.objects.filter(is_open=True, flag_name__in=open_gates(account))


def images() -> QuerySet[Image]:
    """Return the images that customers see."""
    return Image.objects.filter(is_offered=True).exclude(
        status=ImageStatus.PENDING_UPLOAD
    )


_LISTED = (
    *("uuid", "label", "tags", "desired", "phase", "observed", "watchdog_enabled"),
    *("created_at", "updated_at", "has_user_data"),
    *("region__slug", "image__slug", "next_image__slug", "plan__slug", "plan__vcpus"),
    *("plan__memory_mib", "plan__disk_mib", "plan__transfer_gb", "plan__cards"),
    *("placement_member__group__label", "placement_member__group__policy"),
)


def instances_of(account: Account) -> QuerySet[Instance]:
    """Return the account's instances that have not ended, oldest first, with relations.

    Each has ipv4 and ipv6_prefix besides, None where it has no address.
    """
    held = AddressClaim.objects.filter(consumer=OuterRef("uuid"), released_at=None)
    return (
        Instance.objects.filter(account=account)
        .annotate(
            ipv4=Subquery(held.values("address")[:1]),
            ipv6_prefix=Subquery(held.values("pool__ipv6_prefix")[:1]),
        )
        .exclude(phase__in=ENDED_PHASES)
        .select_related("plan__gpu_model", "region", "image", "next_image", "account")
        .select_related("placement_member__group")
        .order_by("pk")
    )


def listed_instances_of(account: Account) -> QuerySet[Instance]:
    """Return instances_of() with what a list shows and nothing else.

    Of 500 rows most of the time goes into making objects of columns.
    """
    return (
        instances_of(account)
        .select_related(None)
        .select_related("plan", "region", "image", "next_image")
        .select_related("placement_member__group")
        .only(*_LISTED)
    )


def reservations_of(account: Account) -> QuerySet[Reservation]:
    """Return the account's reservations that were not released, oldest first.

    With relations, and linode_id: the instance that used it.
    """
    user = Instance.objects.filter(uuid=OuterRef("uuid")).values("pk")
    return (
        Reservation.objects.filter(account=account)
        .exclude(state=ReservationState.RELEASED)
        .select_related("plan", "region")
        .annotate(linode_id=Subquery(user))
        .order_by("pk")
    )


def tag_labels_of(account: Account) -> list[str]:
    """Return the account's tags: made by themselves, or carried by what lives; 3 queries."""
    made = Tag.objects.filter(account=account).values_list("label", flat=True)
    live = Instance.objects.filter(account=account).exclude(phase__in=ENDED_PHASES)
    firewalls = Firewall.objects.filter(account=account)
    carried = (
        rows.annotate(tag=Func(F("tags"), function="unnest"))
        .order_by()
        .values_list("tag", flat=True)
        for rows in (live, firewalls)
    )
    return sorted({*made, *chain.from_iterable(each.distinct() for each in carried)})


def firewalls_of(account: Account) -> QuerySet[Firewall]:
    """Return the account's firewalls, oldest first, with the Linodes on each."""
    devices = FirewallDevice.objects.select_related("instance")
    return (
        Firewall.objects.filter(account=account)
        .prefetch_related(Prefetch("devices", devices))
        .order_by("pk")
    )


def firewall_rules_of(instance: Instance) -> Rules | None:
    """Return the rules that the instance is held to; None without a firewall in force."""
    firewall = Firewall.objects.filter(
        devices__instance=instance, status=FirewallStatus.ENABLED
    ).first()
    return rules_of(firewall.rules) if firewall else None


def disturbed_instances_of(account: Account) -> QuerySet[Instance]:
    """Return the account's instances whose host is being emptied or repaired."""
    claims = NodeClaim.objects.filter(
        released_at=None,
        numa_node__host__policy__in=(HostPolicy.DRAINING, HostPolicy.MAINTENANCE),
    )
    return instances_of(account).filter(uuid__in=claims.values("consumer"))


def host_of(instance: Instance) -> Host | None:
    """Return the host that the open claims are on; None if nothing is held."""
    claims = open_node_claims(instance.uuid)
    return claims[0].numa_node.host if claims else None


@dataclass(frozen=True, slots=True)
class Held:
    """What open claims say: where, with what guests get there, and the domain."""

    host: Host
    setup: GuestSetup
    spec: DomainSpec


def held_by(instance: Instance) -> Held | None:
    """Return what the instance holds; None if nothing.

    Five queries. The claims are the only home of host, node, CPUs and addresses.
    """
    return _held_by({instance.uuid: instance}).get(instance.uuid)


def spec_of(instance: Instance) -> DomainSpec | None:
    """Return the domain of held_by(), at its cost."""
    held = held_by(instance)
    return held.spec if held else None


def as_resized(instance: Instance, resize: PendingResize) -> Instance:
    """Return a copy of the instance as its resize will make it; never to be saved."""
    resized = copy(instance)
    resized.plan, resized.claim_set = resize.plan, resize.claim_set
    return resized


def specs_of(consumers: Mapping[UUID, Instance | None]) -> dict[UUID, DomainSpec]:
    """Return spec_of() each consumer that holds anything; five queries in all.

    consumers: with its instance, None where that is unknown: then it boots nothing. Of an
    instance that is being resized, the set that it has counts.
    """
    return {consumer: held.spec for consumer, held in _held_by(consumers).items()}


def _held_by(consumers: Mapping[UUID, Instance | None]) -> dict[UUID, Held]:
    functions: dict[int, list[int]] = defaultdict(list)
    sets = {consumer: i.claim_set for consumer, i in consumers.items() if i}

    def counts(claim: CardClaim | NodeClaim) -> bool:
        return claim.claim_set == sets.get(claim.consumer, claim.claim_set)

    card_claims = list(filter(counts, open_card_claims(*consumers)))
    rows = CardFunction.objects.filter(card__in=[c.card_id for c in card_claims])
    for card_id, number in rows.order_by("number").values_list("card_id", "number"):
        functions[card_id].append(number)
    cards: dict[tuple[UUID, int], list[tuple[PciAddress, ...]]] = defaultdict(list)
    for card_claim in card_claims:
        card = card_claim.card
        cards[card_claim.consumer, card.numa_node_id].append(
            tuple(
                PciAddress.parse(f"{card.slot_path}.{number}")
                for number in functions[card.pk]
            )
        )
    cells: dict[UUID, list[GuestCell]] = defaultdict(list)
    # Host and page size are the same on all nodes of a consumer.
    any_claim: dict[UUID, NodeClaim] = {}
    for claim in filter(counts, open_node_claims(*consumers)):
        any_claim[claim.consumer] = claim
        cells[claim.consumer].append(
            GuestCell(
                node=claim.numa_node.number,
                cpus=tuple(claim.cpus[: claim.vcpus]),
                claimed_cpus=tuple(claim.cpus),
                memory_mib=claim.memory_mib,
                cards=tuple(cards[claim.consumer, claim.numa_node_id]),
            )
        )
    hosts = {consumer: claim.numa_node.host for consumer, claim in any_claim.items()}
    setups = setups_of(hosts.values())
    addresses = open_addresses_of(hosts)
    return {
        consumer: Held(
            hosts[consumer],
            setup := setups[hosts[consumer].pk],
            _spec(
                claim,
                consumers[consumer],
                setup,
                tuple(cells[consumer]),
                addresses.get(consumer),
            ),
        )
        for consumer, claim in any_claim.items()
    }


def _spec(
    claim: NodeClaim,
    instance: Instance | None,
    setup: GuestSetup,
    cells: tuple[GuestCell, ...],
    address: AddressClaim | None,
) -> DomainSpec:
    domain_type, page_kib = claim.numa_node.host.domain_type, claim.hugepage_kib
    if instance is None:
        consumer = str(claim.consumer)
        return DomainSpec(
            consumer, "", "", domain_type, cells, "", hugepage_kib=page_kib
        )
    plan = disk_plan_of(instance, setup)
    return DomainSpec(
        uuid=str(instance.uuid),
        # Not the customer's label: two accounts may use one label on one host.
        name=f"gpucloud-{instance.pk}",
        title=f"{instance.label} ({instance.account.name})",
        domain_type=domain_type,
        cells=cells,
        kernel_path=instance.image.kernel_path,
        initrd_path=instance.image.initrd_path,
        cmdline=instance.image.cmdline,
        hugepage_kib=page_kib,
        record=InstanceRecord(
            number=instance.pk,
            account_number=instance.account_id,
            plan=instance.plan.slug,
            region=instance.region.slug,
            image=instance.image.slug,
            uuid=instance.uuid,
            account_uuid=instance.account.uuid,
            label=instance.label,
            generation=instance.generation,
            claim_set=instance.claim_set,
        ),
        disks=plan.disks if plan else (),
        nic=_nic_of(address, setup) if address else None,
    )


def disk_plan_of(
    instance: Instance, setup: GuestSetup, image: Image | None = None
) -> DiskPlan | None:
    """Return how the instance's disk is made on a host; None if it boots a kernel there.

    image: another than the instance has now.
    """
    image = image or instance.image
    if not image.is_disk:
        return None
    return DiskPlan(
        uuid=str(instance.uuid),
        image=DiskImage(
            digest=image.sha256,
            format=image.disk_format,
            file_bytes=image.file_bytes or 0,
            virtual_bytes=image.virtual_bytes or 0,
        ),
        capacity_bytes=instance.plan.disk_mib << 20,
        image_pool=setup.image_pool,
        image_folder=setup.image_folder,
        disk_pool=setup.disk_pool,
        disk_folder=setup.disk_folder,
        is_full_copy=setup.copies_images,
        is_wiped=setup.wipes_disks,
    )


def _nic_of(held: AddressClaim, setup: GuestSetup) -> Nic:
    return Nic(
        kind=setup.network_kind,
        source=setup.network_name,
        mac=held.mac,
        ipv4=held.address,
        # "::" is what a guest asks from whether an address of its own is free.
        ipv6=("::", link_local_of(held.mac), held.ipv6) if held.ipv6 else (),
    )
