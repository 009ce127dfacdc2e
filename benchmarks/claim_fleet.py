"""Fill a database of its own with a half-used fleet, and with an account that may claim.

Two NUMA nodes a host, each with 32 cores, 512 GiB and 4 cards; 0 to 4 cards a node used,
2 on average, by holders of one card, 8 cores and 64 GiB.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from benchmarks.claim_work import (
    CARD_CORES,
    CARD_MIB,
    CARDS,
    CORES,
    MEMORY_MIB,
    used_cards,
)
from flags.models import Flag
from instances import tokens
from instances.models import Account, GpuQuota, Plan
from inventory.choices import CardCondition, CardEventKind, HostConnection
from inventory.models import (
    Card,
    CardClaim,
    CardEvent,
    GpuModel,
    Host,
    HostCpu,
    NodeClaim,
    NumaNode,
    Region,
)
from inventory.shape import shape_of
from inventory.topology import FreeCard, HostSnapshot, NodeSnapshot

PLAN, REGION, MODEL, FLAG = "bench-1", "bench", "rtx6000", "gpu-instances"
_GUARDED = ("card", "cardclaim", "nodeclaim", "cardevent", "cardcheck")
_CHUNK = 500


def build(hosts: int) -> None:
    """Fill the empty database; the tables are analysed, as autovacuum would."""
    call_command("migrate", verbosity=0)
    region = Region.objects.create(slug=REGION, label="Bench", country="us")
    model = GpuModel.objects.create(slug=MODEL, name="RTX 6000", memory_mib=24576)
    Plan.objects.create(
        slug=PLAN,
        label="1 card",
        plan_class="gpu",
        cards=1,
        gpu_model=model,
        vcpus=CARD_CORES,
        memory_mib=CARD_MIB,
        disk_mib=0,
        price_hourly=1,
        price_monthly=1,
        flag_name=FLAG,
    )
    Flag.objects.create(name=FLAG, account_tags=["employee"])
    used = used_cards(hosts)
    with connection.cursor() as cursor:
        for table in _GUARDED:
            cursor.execute(f"ALTER TABLE inventory_{table} DISABLE TRIGGER USER")
        for start in range(0, hosts, _CHUNK):
            _add_hosts(region, model, start, used[start : start + _CHUNK])
        for table in _GUARDED:
            cursor.execute(f"ALTER TABLE inventory_{table} ENABLE TRIGGER USER")
        cursor.execute("VACUUM ANALYZE")


def add_customer(name: str, quota: int = 1000) -> str:
    """Return the token of a new account with the flag and a quota of its own."""
    account = Account.objects.create(
        name=name, email=f"{name}@example.net", tags=["employee"]
    )
    user = get_user_model().objects.create_user(username=name)
    account.members.add(user)
    GpuQuota.objects.create(
        account=account, gpu_model=GpuModel.objects.get(), cards=quota
    )
    secret = tokens.new_secret()
    tokens.issue(account, user, "bench", secret)
    return secret


def _add_hosts(
    region: Region, model: GpuModel, start: int, used: Sequence[tuple[int, int]]
) -> None:
    now = timezone.now()
    hosts = Host.objects.bulk_create(
        Host(
            name=f"host{start + i}",
            region=region,
            libvirt_uri=f"test://host{start + i}",
            host_uuid=uuid.uuid4(),
            domain_type="kvm",
            connection=HostConnection.OK,
            # Nobody looks at these hosts: they must not fall silent while it runs.
            last_seen_at=now + timedelta(days=1),
            free_shape=_shape(pair),
        )
        for i, pair in enumerate(used)
    )
    nodes = NumaNode.objects.bulk_create(
        NumaNode(host=host, number=number, memory_mib=MEMORY_MIB, reserved_memory_mib=0)
        for host in hosts
        for number in (0, 1)
    )
    HostCpu.objects.bulk_create(
        HostCpu(numa_node=node, number=cpu, core=cpu)
        for node in nodes
        for cpu in range(node.number * CORES, (node.number + 1) * CORES)
    )
    cards = Card.objects.bulk_create(
        Card(
            host_id=node.host_id,
            numa_node=node,
            gpu_model=model,
            identity=f"{node.pk}-{slot}",
            identity_is_weak=False,
            slot_path=f"0000:{0x20 * (node.number + 1) + slot:02x}:00",
            condition=CardCondition.READY,
        )
        for node in nodes
        for slot in range(CARDS)
    )
    CardEvent.objects.bulk_create(
        CardEvent(
            card=card,
            at=now,
            kind=CardEventKind.ENROLLED,
            to_condition=CardCondition.READY,
            actor="bench",
            reason="made for a benchmark",
        )
        for card in cards
    )
    _use(nodes, cards, [count for pair in used for count in pair], now)


def _use(
    nodes: list[NumaNode], cards: list[Card], used: list[int], now: datetime
) -> None:
    taken = [
        (index, slot, uuid.uuid4())
        for index, count in enumerate(used)
        for slot in range(count)
    ]
    claims = CardClaim.objects.bulk_create(
        CardClaim(card=cards[index * CARDS + slot], consumer=who, claimed_at=now)
        for index, slot, who in taken
    )
    CardEvent.objects.bulk_create(
        CardEvent(
            card_id=claim.card_id,
            at=now,
            kind=CardEventKind.CLAIMED,
            from_condition=CardCondition.READY,
            to_condition=CardCondition.READY,
            actor="bench",
            reason="half full",
            consumer=claim.consumer,
            claim=claim,
        )
        for claim in claims
    )
    NodeClaim.objects.bulk_create(
        NodeClaim(
            numa_node=nodes[index],
            consumer=who,
            cpus=[
                nodes[index].number * CORES + slot * CARD_CORES + i
                for i in range(CARD_CORES)
            ],
            vcpus=CARD_CORES,
            memory_mib=CARD_MIB,
            claimed_at=now,
        )
        for index, slot, who in taken
    )


def _shape(used: tuple[int, int]) -> str:
    nodes = tuple(
        NodeSnapshot(
            number,
            tuple(FreeCard(i, MODEL) for i in range(CARDS - count)),
            tuple((i,) for i in range(CORES - count * CARD_CORES)),
            MEMORY_MIB - count * CARD_MIB,
            guests=count,
        )
        for number, count in enumerate(used)
    )
    return shape_of(HostSnapshot(0, "", nodes))


def prepare(hosts: int, clients: int) -> None:
    """Fill the database if it is empty; print the tokens of `clients` new customers."""
    if not connection.introspection.table_names():
        build(hosts)
    stamp = uuid.uuid4().hex[:8]
    for number in range(clients):
        print(add_customer(f"{stamp}-{number}"))
