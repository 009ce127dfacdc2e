"""Typed builders of rows with defaults; a test names only what it is about."""

import hashlib
import itertools
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import transaction
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
from inventory.ledger import (
    Actor,
    change_condition,
    clock,
    record_place,
    refresh_shape,
)
from inventory.models import (
    AddressPool,
    Card,
    CardCheck,
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

GPU_FLAG = "gpu-instances"
_serial = itertools.count(1)
_ACTOR = Actor("test:builder", "made for a test")


def make_region(slug: str = "us-east", **fields: Any) -> Region:
    defaults = {"label": "Newark, NJ", "country": "us", **fields}
    return Region.objects.get_or_create(slug=slug, defaults=defaults)[0]


def make_gpu_model(slug: str = "rtx6000", pci_id: str = "10de:1e30") -> GpuModel:
    image, _ = CheckImage.objects.get_or_create(
        slug="check", defaults={"kernel_path": "/var/lib/libvirt/images/check.elf"}
    )
    model, _ = GpuModel.objects.get_or_create(
        slug=slug,
        defaults={
            "name": f"Quadro {slug}",
            "memory_mib": 24576,
            "scrub_mib": 64,
            "scrub_image": image,
            "test_image": image,
        },
    )
    PciId.objects.get_or_create(pci_id=pci_id, defaults={"gpu_model": model})
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
    cpu = itertools.count()
    for node_number, cards in enumerate(cards_per_node):
        node = NumaNode.objects.create(
            host=host,
            number=node_number,
            memory_mib=memory_mib + reserved_memory_mib,
            reserved_memory_mib=reserved_memory_mib,
        )
        for _ in range(cores_per_node):
            cpus = [next(cpu) for _ in range(threads)]
            for sibling in cpus:
                HostCpu.objects.create(numa_node=node, number=sibling, core=cpus[0])
        for slot in range(cards):
            make_card(
                node,
                f"0000:{0x20 * (node_number + 1) + slot + 1:02x}:00",
                gpu_model=gpu_model,
                condition=condition,
            )
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


@transaction.atomic
def make_card(
    node: NumaNode,
    slot_path: str,
    *,
    gpu_model: GpuModel | None = None,
    condition: CardCondition = CardCondition.READY,
    functions: tuple[str, ...] = ("10de:1e30",),
) -> Card:
    card = Card.objects.create(
        host=node.host,
        numa_node=node,
        gpu_model=gpu_model or make_gpu_model(),
        identity=f"{node.host.host_uuid} {slot_path}",
        identity_is_weak=True,
        slot_path=slot_path,
    )
    for number, pci_id in enumerate(functions):
        CardFunction.objects.create(
            card=card,
            number=number,
            pci_id=pci_id,
            class_code="030000",
            iommu_group=int(slot_path.split(":")[1], 16),
        )
    record_place(card, CardEventKind.ENROLLED, _ACTOR)
    for step in _PATHS.get(condition, (condition,)):
        if step == CardCondition.READY:
            make_check(card)
        change_condition(card, step, _ACTOR)
    return card


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
    now = clock()
    return CardCheck.objects.create(
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
    return Image.objects.get_or_create(slug=slug, defaults=defaults)[0]


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
