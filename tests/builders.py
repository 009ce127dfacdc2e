"""Typed builders of rows with defaults; a test names only what it is about."""

import hashlib
import itertools
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Model
from django.utils import timezone

from flags.models import Beta, Flag
from instances import tokens
from instances.actions.launch import LaunchOrder
from instances.models import (
    Account,
    Image,
    Instance,
    Invoice,
    InvoicedMonth,
    InvoiceItem,
    Plan,
)
from instances.placement import NumaPolicy
from instances.price import Month
from inventory.choices import (
    CardCondition,
    CardEventKind,
    CheckKind,
    CheckOutcome,
    HostConnection,
)
from inventory.ledger import Actor, clock, refresh_shape
from inventory.models import (
    AddressPool,
    Card,
    CardCheck,
    CardEvent,
    CardFunction,
    CheckImage,
    GpuModel,
    GuestSetup,
    Host,
    HostCpu,
    NumaNode,
    PciId,
    Region,
)

M = TypeVar("M", bound=Model)
GPU_FLAG = "gpu-instances"
_serial = itertools.count(1)
_ACTOR = Actor("test:builder", "made for a test")


def make_region(slug: str = "us-east", **fields: Any) -> Region:
    defaults = {"label": "Newark, NJ", "country": "us", **fields}
    return _found_or_made(Region, defaults, slug=slug)


def _found_or_made(model: type[M], defaults: dict[str, Any], **key: Any) -> M:
    """Do what get_or_create does, without its savepoint: two statements less."""
    rows = model._default_manager
    return rows.filter(**key).first() or rows.create(**key, **defaults)


def make_gpu_model(slug: str = "rtx6000", pci_id: str = "10de:1e30") -> GpuModel:
    check = {"kernel_path": "/var/lib/libvirt/images/check.elf"}
    image = _found_or_made(CheckImage, check, slug="check")
    made = {
        "name": f"Quadro {slug}",
        "memory_mib": 24576,
        "scrub_mib": 64,
        "scrub_image": image,
        "test_image": image,
    }
    model = _found_or_made(GpuModel, made, slug=slug)
    _found_or_made(PciId, {"gpu_model": model}, pci_id=pci_id)
    return model


def make_host(
    name: str = "",
    *,
    cards_per_node: tuple[int, ...] = (2, 2),
    cores_per_node: int = 2,
    threads: int = 1,
    memory_mib: int = 1152,
    reserved_memory_mib: int = 0,
    region: Region | None = None,
    gpu_model: GpuModel | None = None,
    condition: CardCondition = CardCondition.READY,
    **fields: Any,
) -> Host:
    """Make a host that accepts claims, one NUMA node per entry of `cards_per_node`."""
    number = next(_serial)
    host = Host.objects.create(
        **{
            "name": name or f"host{number}",
            "region": region or make_region(),
            "libvirt_uri": f"test://host{number}",
            "host_uuid": uuid.uuid4(),
            "domain_type": "qemu",
            "connection": HostConnection.OK,
            "last_seen_at": timezone.now(),
            **fields,
        }
    )
    nodes = NumaNode.objects.bulk_create(
        NumaNode(
            host=host,
            number=number,
            memory_mib=memory_mib + reserved_memory_mib,
            reserved_memory_mib=reserved_memory_mib,
        )
        for number in range(len(cards_per_node))
    )
    cores = [node for node in nodes for _ in range(cores_per_node)]
    HostCpu.objects.bulk_create(
        HostCpu(numa_node=node, number=threads * at + sibling, core=threads * at)
        for at, node in enumerate(cores)
        for sibling in range(threads)
    )
    places = [
        (node, f"0000:{0x20 * (node.number + 1) + slot + 1:02x}:00")
        for node, cards in zip(nodes, cards_per_node, strict=True)
        for slot in range(cards)
    ]
    if places:
        _make_cards(places, gpu_model or make_gpu_model(), condition)
    with transaction.atomic():
        refresh_shape(host)
    return host


def make_network(
    host: Host, /, *, first: int = 10, last: int = 19, third: int = 0, **fields: Any
) -> AddressPool:
    """Give `host` a libvirt network, and a pool of 10.9.`third`.first to .last."""
    GuestSetup.objects.update_or_create(host=host, defaults={"network_name": "guests"})
    return AddressPool.objects.create(
        **{
            "name": f"pool{next(_serial)}",
            "region": host.region,
            "network": f"10.9.{third}.0/24",
            "first": f"10.9.{third}.{first}",
            "last": f"10.9.{third}.{last}",
            "gateway": f"10.9.{third}.1",
            **fields,
        }
    )


def make_card(
    node: NumaNode,
    slot_path: str,
    *,
    gpu_model: GpuModel | None = None,
    condition: CardCondition = CardCondition.READY,
    functions: tuple[str, ...] = ("10de:1e30",),
) -> Card:
    places = [(node, slot_path)]
    (card,) = _make_cards(places, gpu_model or make_gpu_model(), condition, functions)
    return card


@transaction.atomic
def _make_cards(
    places: list[tuple[NumaNode, str]],
    gpu_model: GpuModel,
    condition: CardCondition,
    functions: tuple[str, ...] = ("10de:1e30",),
) -> list[Card]:
    """Make a card at each place (node, slot), all at once: one alone is 15 statements.

    The ledger is told what inventory.ledger would tell it (test_ledger compares them).
    """
    cards = Card.objects.bulk_create(
        Card(
            host=node.host,
            numa_node=node,
            gpu_model=gpu_model,
            identity=f"{node.host.host_uuid} {slot_path}",
            identity_is_weak=True,
            slot_path=slot_path,
        )
        for node, slot_path in places
    )
    CardFunction.objects.bulk_create(
        CardFunction(
            card=card,
            number=number,
            pci_id=pci_id,
            class_code="030000",
            iommu_group=int(card.slot_path.split(":")[1], 16),
        )
        for card in cards
        for number, pci_id in enumerate(functions)
    )
    _tell(cards, CardEventKind.ENROLLED, cards[0].condition)
    for step in _PATHS.get(condition, (condition,)):
        if step == CardCondition.READY:
            now = clock()
            CardCheck.objects.bulk_create(_check(card, now) for card in cards)
        _tell(cards, CardEventKind.CONDITION, step)
    return cards


def _tell(cards: list[Card], kind: CardEventKind, to: str) -> None:
    """Take cards, all in one condition, to another, and tell the ledger."""
    now, is_new = clock(), kind is CardEventKind.ENROLLED
    CardEvent.objects.bulk_create(
        CardEvent(
            card=card,
            at=now,
            kind=kind,
            from_condition="" if is_new else card.condition,
            to_condition=to,
            actor=_ACTOR.name,
            reason=_ACTOR.reason,
            host_id=card.host_id if is_new else None,
            slot_path=card.slot_path if is_new else "",
        )
        for card in cards
    )
    if is_new:
        return
    for card in cards:
        card.condition, card.condition_changed_at = CardCondition(to), now
    pks = [card.pk for card in cards]
    Card.objects.filter(pk__in=pks).update(condition=to, condition_changed_at=now)


_PATHS: dict[CardCondition, tuple[CardCondition, ...]] = {
    CardCondition.UNVERIFIED: (),
    CardCondition.READY: (CardCondition.TESTING, CardCondition.READY),
    CardCondition.DIRTY: (
        CardCondition.TESTING,
        CardCondition.READY,
        CardCondition.DIRTY,
    ),
    CardCondition.SANITISING: (
        CardCondition.TESTING,
        CardCondition.READY,
        CardCondition.DIRTY,
        CardCondition.SANITISING,
    ),
    CardCondition.RETIRED: (CardCondition.QUARANTINED, CardCondition.RETIRED),
}


def make_check(
    card: Card,
    kind: CheckKind = CheckKind.TEST,
    outcome: CheckOutcome = CheckOutcome.PASSED,
) -> CardCheck:
    """Make the evidence of a check that began and ended now."""
    check = _check(card, clock(), kind, outcome)
    check.save()
    return check


def _check(
    card: Card,
    now: datetime,
    kind: CheckKind = CheckKind.TEST,
    outcome: CheckOutcome = CheckOutcome.PASSED,
) -> CardCheck:
    return CardCheck(
        card=card,
        kind=kind,
        outcome=outcome,
        finding="made for a test",
        started_at=now,
        finished_at=now,
        actor=_ACTOR.name,
    )


def make_user(username: str = "", **fields: Any) -> User:
    name = username or f"user{next(_serial)}"
    return get_user_model().objects.create_user(
        username=name, email=f"{name}@example.net", **fields
    )


def make_account(
    name: str = "", *, tags: tuple[str, ...] = (), **fields: Any
) -> Account:
    number = next(_serial)
    return Account.objects.create(
        name=name or f"Account {number}",
        email=f"account{number}@example.net",
        tags=list(tags),
        **fields,
    )


def make_token(account: Account | None = None, *, scopes: str = "*") -> str:
    """Return the secret of a new token of a new member of `account`."""
    account = account or make_account()
    user = make_user()
    account.members.add(user)
    secret = tokens.new_secret()
    tokens.issue(account, user, "test", secret, scopes=scopes)
    return secret


def make_flag(
    name: str = GPU_FLAG,
    *,
    everyone: bool | None = None,
    accounts: tuple[Account, ...] = (),
    tags: tuple[str, ...] = (),
) -> Flag:
    flag, _ = Flag.objects.update_or_create(
        name=name, defaults={"everyone": everyone, "account_tags": list(tags)}
    )
    flag.accounts.set(accounts)
    return flag


def make_beta(slug: str = "beta", *, flag: Flag | None = None, **fields: Any) -> Beta:
    """Make a beta that began a minute ago and has no end."""
    return Beta.objects.create(
        **{
            "slug": slug,
            "label": f"Beta {slug}",
            "flag": flag or make_flag(slug),
            "started_at": timezone.now() - timedelta(minutes=1),
            **fields,
        }
    )


def make_plan(
    slug: str = "",
    *,
    cards: int = 1,
    vcpus: int | None = None,
    memory_mib: int | None = None,
    flag_name: str = "",
    numa_policy: NumaPolicy = NumaPolicy.PREFERRED,
    **fields: Any,
) -> Plan:
    return Plan.objects.create(
        **{
            "slug": slug or f"plan-{cards}-{next(_serial)}",
            "label": f"{cards} cards",
            "plan_class": "gpu" if cards else "standard",
            "cards": cards,
            "gpu_model": make_gpu_model() if cards else None,
            "vcpus": vcpus or max(1, cards),
            "memory_mib": memory_mib or 256 * max(1, cards),
            "disk_mib": 0,
            "price_hourly": "1.5",
            "price_monthly": "1000",
            "flag_name": flag_name,
            "numa_policy": numa_policy,
            **fields,
        }
    )


def make_image(slug: str = "gpucloud/probe", **fields: Any) -> Image:
    defaults = {
        "label": "GPU probe",
        "kernel_path": "/var/lib/libvirt/images/probe.elf",
        **fields,
    }
    return _found_or_made(Image, defaults, slug=slug)


def make_disk_image(
    folder: Path, slug: str = "linode/debian12", **fields: Any
) -> Image:
    """Put a small raw image into `folder`, the image folder, and offer it."""
    content = f"image {slug}".encode().ljust(2 << 20, b"\0")
    (folder / "disk.raw").write_bytes(content)
    return Image.objects.create(
        **{
            "slug": slug,
            "label": "Debian 12",
            "source": "disk.raw",
            "sha256": hashlib.sha256(content).hexdigest(),
            "disk_format": "raw",
            "file_bytes": len(content),
            "virtual_bytes": len(content),
            "size_mib": 2,
            **fields,
        }
    )


@transaction.atomic
def make_invoice(account: Account, *instances: Instance) -> Invoice:
    """Make an invoice of January 2026, an hour of $ 1 for each instance."""
    month = Month(2026, 1)
    row, _ = InvoicedMonth.objects.get_or_create(begins=month.begins.date())
    invoice = Invoice.objects.create(
        account=account,
        month=row,
        label=f"Invoice {month}",
        issued_at=month.ends,
        subtotal=len(instances),
        total=len(instances),
    )
    for instance in instances:
        InvoiceItem.objects.create(
            invoice=invoice,
            instance=instance,
            plan=instance.plan,
            starts_at=month.begins,
            ends_at=month.ends,
            hours=1,
            amount=1,
        )
    return invoice


def make_order(account: Account | None = None, **fields: Any) -> LaunchOrder:
    """Return an order that fits a make_host(); makes the rows that it does not name."""
    values: dict[str, Any] = {
        "account": account or make_account(),
        "region": "us-east",
        "actor": "user:tester",
        "username": "tester",
        **fields,
    }
    if "plan" not in values:
        values["plan"] = make_plan().slug
    if "image" not in values:
        values["image"] = make_image().slug
    make_region()
    return LaunchOrder(**values)
