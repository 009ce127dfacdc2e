"""What each process of the claim's storm does, and how the books are checked after it."""

import random
import uuid
from collections import Counter

from django.db import OperationalError, connection, transaction

from benchmarks.claim_work import CARD_CORES, CARD_MIB
from instances.capacity import sellable_count
from instances.claiming import claim_capacity
from instances.placement import NoFit, Request
from inventory.ledger import Actor, release
from inventory.ledger_audit import audit
from inventory.models import CardClaim, Host, NodeClaim, Region
from inventory.shape import shape_of
from inventory.snapshots import accepting_hosts, snapshots_of

SIZES = {1: 55, 2: 20, 3: 5, 4: 20}
MOST_REFUSED = 0.001
MOST_HELD = 8
_REQUESTS = {
    cards: Request(CARD_CORES * cards, CARD_MIB * cards, cards, "rtx6000")
    for cards in SIZES
}
_ACTOR = Actor("user:storm", "a storm")


def client(seed: int, operations: int, clients: int) -> None:
    """Claim and release; print the counts of what happened, one a line."""
    rng = random.Random(seed)
    region = Region.objects.get()
    told: Counter[str] = Counter()
    held: list[uuid.UUID] = []
    for _ in range(operations):
        try:
            if len(held) >= MOST_HELD or (held and rng.random() < 0.45):
                with transaction.atomic():
                    release(held.pop(rng.randrange(len(held))), _ACTOR)
                told["released"] += 1
            else:
                (cards,) = rng.choices(list(SIZES), list(SIZES.values()))
                told[_claim(cards, region, held, clients)] += 1
        except OperationalError as error:
            told[f"failed: {type(error.__cause__).__name__}"] += 1
    told["held"] = len(held)
    for what, count in told.items():
        print(count, what)


def _claim(cards: int, region: Region, held: list[uuid.UUID], clients: int) -> str:
    consumer = uuid.uuid4()
    with transaction.atomic():
        placed = claim_capacity(
            _REQUESTS[cards], region, consumer, _ACTOR, is_hold=True
        )
    if not isinstance(placed, NoFit):
        held.append(consumer)
        return "claimed"
    # Others may take it meanwhile; with room for all of them, nobody may be refused.
    left = sellable_count(_REQUESTS[cards], snapshots_of(accepting_hosts()))
    return "refused falsely" if left >= clients else "refused"


def check(open_before: int, told: Counter[str]) -> list[str]:
    """Return what is wrong with the books."""
    wrong = []
    cards = list(
        CardClaim.objects.filter(released_at=None).values_list("card", flat=True)
    )
    if len(cards) != len(set(cards)):
        wrong.append("a card has two open claims")
    nodes = NodeClaim.objects.filter(released_at=None)
    holders = nodes.values("consumer").distinct().count()
    if holders != open_before + told["held"]:
        wrong.append(f"{holders} hold something, not {open_before + told['held']}")
    hosts = list(Host.objects.order_by("pk"))
    for host, snapshot in zip(hosts, snapshots_of(hosts), strict=True):
        if host.free_shape != shape_of(snapshot):
            wrong.append(f"{host}: the search key is not what its claims leave")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        if deadlocks := cursor.fetchone()[0]:
            wrong.append(f"{deadlocks} deadlocks")
    if difference := audit().difference:
        wrong.append(f"ledger: {difference}")
    wrong += [f"{count} {what}" for what, count in told.items() if "failed" in what]
    if told["refused falsely"] >= MOST_REFUSED * (told["claimed"] + 1):
        wrong.append(f"{told['refused falsely']} claims were refused falsely")
    return wrong
