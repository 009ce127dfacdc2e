"""Addresses: what follows from one, who has which, and that nobody has another's."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from inventory.address_claims import (
    _claim_of,
    claim_address,
    open_address_of,
    open_addresses_of,
    release_address,
)
from inventory.addresses import link_local_of, mac_of, slaac_of
from inventory.exceptions import NoAddress
from inventory.free_host import free_host
from inventory.ledger import Actor, claim, lock_host
from inventory.models import AddressClaim, AddressPool
from inventory.models.guest_setup import setup_of
from inventory.topology import NodeShare
from tests.builders import make_host, make_network, make_region

pytestmark = pytest.mark.django_db
WHY = Actor("user:tester", "a test")


def test_mac_and_ipv6_follow_from_the_address() -> None:
    mac = mac_of("203.0.113.7")

    assert mac == "02:67:cb:00:71:07"
    # RFC 4291, appendix A: the universal/local bit is turned over.
    assert slaac_of("2001:db8:1::/64", mac) == "2001:db8:1:0:67:cbff:fe00:7107"
    assert link_local_of(mac) == "fe80::67:cbff:fe00:7107"


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_two_addresses_never_share_a_mac(one: object, other: object) -> None:
    assert (mac_of(str(one)) == mac_of(str(other))) == (one == other)
    assert int(mac_of(str(one))[:2], 16) & 0b11 == 0b10


def test_address_is_held_until_it_is_released() -> None:
    host = make_host()
    pool = make_network(host, first=10, last=11, ipv6_prefix="2001:db8::/64")
    one, two, three = (uuid.uuid4() for _ in range(3))

    first, second = claim_address(host, one), claim_address(host, two)
    assert {first.address, second.address} == {"10.9.0.10", "10.9.0.11"}
    with pytest.raises(NoAddress):
        claim_address(host, three)
    assert release_address(one) is True
    assert release_address(one) is False
    third = claim_address(host, three)

    assert third.address == first.address
    assert third.pool == pool
    assert third.ipv6 == slaac_of("2001:db8::/64", third.mac)
    assert open_address_of(one) is None
    assert open_addresses_of([one, two, three]) == {two: second, three: third}
    assert AddressClaim.objects.count() == 3


def test_pool_of_the_host_comes_before_its_regions() -> None:
    host, other = make_host(), make_host()
    make_network(other, third=1)
    own = make_network(host, third=2, first=10, last=10, host=host)

    assert claim_address(host, uuid.uuid4()).pool == own
    assert claim_address(host, uuid.uuid4()).address.startswith("10.9.1.")
    assert claim_address(other, uuid.uuid4()).address.startswith("10.9.1.")


def test_pool_of_another_region_or_host_gives_nothing() -> None:
    host, other = make_host(), make_host()
    make_network(other, host=other)
    make_network(make_host(region=make_region("eu-west")), third=1)

    with pytest.raises(NoAddress):
        claim_address(host, uuid.uuid4())


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"last": 9}, "address_pool_range_in_network"),
        ({"network": "10.9.0.0/28"}, "address_pool_range_in_network"),
        ({"gateway": "10.9.0.12"}, "address_pool_gateway_is_nobodys"),
        ({"gateway": "10.10.0.1"}, "address_pool_gateway_is_nobodys"),
        ({"ipv6_prefix": "2001:db8::/48"}, "address_pool_prefix_is_64"),
    ],
)
def test_pool_that_makes_no_sense_is_refused(
    fields: dict[str, object], rule: str
) -> None:
    host = make_host()

    with pytest.raises(IntegrityError, match=rule), transaction.atomic():
        make_network(host, **fields)  # type: ignore[arg-type]

    assert AddressPool.objects.count() == 0


def test_pools_that_overlap_are_refused() -> None:
    host = make_host()
    make_network(host)

    with pytest.raises(IntegrityError, match="address_pools_are_apart"):
        make_network(host, network="10.9.0.0/16", gateway="10.9.255.1")


def test_form_names_the_field_that_is_wrong() -> None:
    pool = make_network(make_host())
    pool.ipv6_prefix = "2001:db8::/48"
    with pytest.raises(ValidationError) as caught:
        pool.clean()
    assert "ipv6_prefix" in caught.value.message_dict

    pool.network = "10.9.0.1/24"
    with pytest.raises(ValidationError) as caught:
        pool.clean()
    assert "network" in caught.value.message_dict


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("first", "10.8.0.1", "Is not in"),
        ("last", "10.9.0.9", "Comes before"),
        ("gateway", "10.9.0.12", "Is between"),
        ("gateway", "10.10.0.1", "Is not in"),
    ],
)
def test_form_names_what_is_wrong_with_a_range(
    field: str, value: str, told: str
) -> None:
    pool = make_network(make_host())
    setattr(pool, field, value)

    with pytest.raises(ValidationError) as caught:
        pool.clean()

    assert told in caught.value.message_dict[field][0]


def test_pool_that_staff_have_just_made_smaller_gives_what_is_left() -> None:
    pool = make_network(make_host())
    stale = AddressPool.objects.get(pk=pool.pk)
    AddressPool.objects.update(first=pool.last)

    claims = [_claim_of(stale, uuid.uuid4()) for _ in range(2)]

    assert [claim and claim.address for claim in claims] == [pool.last, None]


def test_where_disks_lie_stays_while_something_is_held() -> None:
    host = make_host()
    setup = setup_of(host)
    setup.disk_pool = "fast"
    setup.save()  # Nobody has a disk there yet.
    lock_host(host.pk)
    claim(free_host(host.pk), (NodeShare(0, (), (0,), 1, 128),), uuid.uuid4(), WHY)
    setup.disk_pool = "faster"

    with pytest.raises(ValidationError) as caught:
        setup.full_clean()
    assert list(caught.value.message_dict) == ["disk_pool"]
    with pytest.raises(IntegrityError, match="lie in fast"), transaction.atomic():
        setup.save()
    with pytest.raises(IntegrityError, match="lie in fast"), transaction.atomic():
        setup.delete()

    setup.refresh_from_db()
    setup.wipes_disks = False
    setup.full_clean()
    setup.save()


def test_claim_outside_its_pool_or_changed_is_refused() -> None:
    host = make_host()
    pool = make_network(host)
    held = claim_address(host, uuid.uuid4())

    with (
        pytest.raises(IntegrityError, match=r"10\.9\.0\.200 is not of pool"),
        transaction.atomic(),
    ):
        AddressClaim.objects.create(
            pool=pool,
            address="10.9.0.200",
            consumer=uuid.uuid4(),
            claimed_at=held.claimed_at,
        )
    with (
        pytest.raises(IntegrityError, match="claim can only be released"),
        transaction.atomic(),
    ):
        AddressClaim.objects.update(address="10.9.0.12")
    with (
        pytest.raises(IntegrityError, match="address_one_open_claim"),
        transaction.atomic(),
    ):
        AddressClaim.objects.create(
            pool=pool,
            address=held.address,
            consumer=uuid.uuid4(),
            claimed_at=held.claimed_at,
        )


@pytest.mark.django_db(transaction=True)
def test_claims_made_at_once_get_an_address_each() -> None:
    host = make_host()
    make_network(host, first=10, last=29)
    start = threading.Barrier(8)

    def claim_some(_: int) -> list[str]:
        start.wait()
        found = []
        try:
            for _ in range(4):
                try:
                    with transaction.atomic():
                        found.append(claim_address(host, uuid.uuid4()).address)
                except NoAddress:
                    break
        finally:
            connection.close()
        return found

    with ThreadPoolExecutor(8) as workers:
        addresses = [a for part in workers.map(claim_some, range(8)) for a in part]

    assert len(addresses) == 20
    assert len(set(addresses)) == 20
