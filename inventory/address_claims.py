"""Claim and release addresses; the only writer of their claims.

Every function runs in the caller's transaction; the constraints are the last word.
"""

from collections.abc import Iterable
from uuid import UUID

import psycopg
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Q

from inventory.exceptions import NoAddress
from inventory.ledger import clock
from inventory.models import AddressClaim, AddressPool, Host

_TAKEN, _OF_POOL = "address_one_open_claim", "claimed_address_of_pool"
# Where the search begins depends on the consumer: claims that are made at once seldom want
# the same address, and one that was just released seldom goes to the next in line.
_FREE = """
SELECT host(candidate) FROM (
    SELECT %(first)s::inet + ((%(start)s + n) %% %(size)s) AS candidate
    FROM generate_series(0, %(size)s - 1) AS n
) AS candidates
WHERE NOT EXISTS (
    SELECT FROM inventory_addressclaim
    WHERE address = candidate AND released_at IS NULL
)
LIMIT 1
"""


def claim_address(host: Host, consumer: UUID) -> AddressClaim:
    """Give `consumer`, whose guest is for `host`, an address that nobody has.

    The host's own pools come before those of its region. Raises NoAddress; then nothing
    was claimed.
    """
    pools = (
        AddressPool.objects.filter(region_id=host.region_id)
        .filter(Q(host=host) | Q(host=None))
        .order_by(F("host").asc(nulls_last=True), "pk")
    )
    for pool in pools:
        claimed = _claim_of(pool, consumer)
        if claimed is not None:
            return claimed
    raise NoAddress(host.name)


def adopt_address(host: Host, consumer: UUID, address: str) -> AddressClaim:
    """Give `consumer` the address that its guest on `host` was found with.

    Raises NoAddress if no pool has it or somebody else holds it; in the latter case the
    caller's transaction is broken.
    """
    pools = AddressPool.objects.filter(
        Q(host=host) | Q(host=None),
        region_id=host.region_id,
        first__lte=address,
        last__gte=address,
    )
    pool = pools.first()
    if pool is None:
        raise NoAddress(host.name)
    try:
        return AddressClaim.objects.create(
            pool=pool, address=address, consumer=consumer, claimed_at=clock()
        )
    except IntegrityError as error:
        raise NoAddress(host.name) from error


def _claim_of(pool: AddressPool, consumer: UUID) -> AddressClaim | None:
    while (address := _free_address(pool, consumer)) is not None:
        try:
            # The savepoint survives the loss of an address to another transaction.
            with transaction.atomic():
                return AddressClaim.objects.create(
                    pool=pool, address=address, consumer=consumer, claimed_at=clock()
                )
        except IntegrityError as error:
            constraint = _violated(error)
            if constraint == _OF_POOL:
                # Staff have just changed its range.
                pool.refresh_from_db()
            elif constraint != _TAKEN:
                raise
    return None


def _violated(error: IntegrityError) -> str | None:
    cause = error.__cause__
    return cause.diag.constraint_name if isinstance(cause, psycopg.Error) else None


def _free_address(pool: AddressPool, consumer: UUID) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT %s::inet - %s::inet + 1", [str(pool.last), str(pool.first)]
        )
        (size,) = cursor.fetchone()
        cursor.execute(
            _FREE, {"first": pool.first, "size": size, "start": consumer.int % size}
        )
        found = cursor.fetchone()
    return found[0] if found else None


def release_address(consumer: UUID) -> bool:
    """End the consumer's open claim, if it has one; say whether it had.

    The caller has proof that the consumer's domain is absent.
    """
    claims = AddressClaim.objects.filter(consumer=consumer, released_at=None)
    return bool(claims.update(released_at=clock()))


def open_address_of(consumer: UUID) -> AddressClaim | None:
    """Return the consumer's open claim with its pool; one query."""
    claims = AddressClaim.objects.filter(consumer=consumer, released_at=None)
    return claims.select_related("pool").first()


def open_addresses_of(consumers: Iterable[UUID]) -> dict[UUID, AddressClaim]:
    """Return consumer -> its open claim with its pool; one query."""
    claims = AddressClaim.objects.filter(consumer__in=list(consumers), released_at=None)
    return {claim.consumer: claim for claim in claims.select_related("pool")}
