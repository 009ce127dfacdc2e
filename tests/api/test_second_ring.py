"""Kernels, addresses of the account, and single disks and addresses of a Linode."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from instances.models import Instance, Plan
from inventory.address_claims import release_address
from inventory.models import AddressClaim, Host
from tests.api.builders import ApiClient, Customer, make_customer
from tests.builders import make_network

pytestmark = pytest.mark.django_db
Maker = Callable[[Customer], int]


@pytest.fixture
def linode(customer: Customer, with_a_disk: Maker) -> int:
    """Give a Linode with a disk and an address."""
    for number, host in enumerate(Host.objects.all()):
        make_network(host, third=number, host=host)
    return with_a_disk(customer)


def test_kernels_are_public_and_tell_what_disks_boot(
    anyone: ApiClient, db: None
) -> None:
    listed = anyone.get("/linode/kernels", x_filter='{"kvm": true}').json()["data"]

    assert [kernel["id"] for kernel in listed] == ["linode/direct-disk"]
    for path in ("linode/direct-disk", "linode%2Fdirect-disk", "linode/direct-disk/"):
        assert anyone.get(f"/linode/kernels/{path}").json() == listed[0]
    assert anyone.get("/linode/kernels/linode/latest-64bit").status_code == 404
    assert anyone.post("/linode/kernels", {}).status_code == 401


def test_the_accounts_addresses_are_those_that_its_linodes_hold(
    customer: Customer, linode: int, with_a_disk: Any
) -> None:
    stranger = make_customer("stranger")
    held = AddressClaim.objects.get().address

    listed = customer.api.get("/networking/ips").json()

    assert listed["results"] == 1
    (address,) = listed["data"]
    assert (address["address"], address["linode_id"]) == (held, linode)
    assert address["assigned_entity"]["url"] == f"/v4/linode/instances/{linode}"
    assert address["rdns"] is None
    alike = (f"/networking/ips/{held}", f"/linode/instances/{linode}/ips/{held}")
    assert all(customer.api.get(path).json() == address for path in alike)
    assert stranger.api.get("/networking/ips").json()["results"] == 0
    assert all(stranger.api.get(path).status_code == 404 for path in alike)


def test_an_address_that_was_let_go_of_is_nobodys(
    customer: Customer, linode: int
) -> None:
    held = AddressClaim.objects.get().address
    release_address(Instance.objects.get(pk=linode).uuid)

    assert customer.api.get("/networking/ips").json()["results"] == 0
    for path in (f"/networking/ips/{held}", f"/linode/instances/{linode}/ips/{held}"):
        assert customer.api.get(path).status_code == 404


def test_what_is_no_address_is_not_found(customer: Customer, linode: int) -> None:
    for text in ("10.9.0.0", "::1", "x", "%00", "999.1.1.1"):
        for path in ("/networking/ips", f"/linode/instances/{linode}/ips"):
            assert customer.api.get(f"{path}/{text}").status_code == 404


def test_reading_addresses_needs_their_scope(customer: Customer, linode: int) -> None:
    reader = make_customer("reader", scopes="ips:read_only", account=customer.account)
    other = make_customer("other", scopes="linodes:*", account=customer.account)

    assert reader.api.get("/networking/ips").json()["results"] == 1
    assert other.api.get("/networking/ips").status_code == 401


def test_query_count_does_not_depend_on_the_number_of_addresses(
    customer: Customer, linode: int, with_a_disk: Any, django_assert_num_queries: Any
) -> None:
    def listed() -> int:
        with django_assert_num_queries(3):
            return int(customer.api.get("/networking/ips").json()["results"])

    assert listed() == 1
    order = {"type": "disk-plan", "region": "us-east", "image": "linode/debian12"}
    for _ in range(2):
        made = customer.api.post(
            "/linode/instances", {**order, "root_pass": "Sonnenblume-7"}
        )
        assert made.status_code == 200
    assert listed() == 3


def test_a_disk_is_found_by_its_own_id_alone(
    customer: Customer, linode: int, shop: dict[str, Plan]
) -> None:
    path = f"/linode/instances/{linode}/disks"
    (listed,) = customer.api.get(path).json()["data"]

    assert customer.api.get(f"{path}/{listed['id']}").json() == listed
    assert customer.api.get(f"{path}/{listed['id'] + 1}").status_code == 404


def test_what_the_documentation_says_is_not_here_is_not(
    customer: Customer, linode: int
) -> None:
    text = Path("docs/api.md").read_text()
    (section,) = re.findall(r'<a id="not-here">(.*?)\n## ', text, re.DOTALL)
    paths = re.findall(r"`(/[^`]+)`", section.split("405")[0])
    assert len(paths) > 20

    found = [path.format(id=linode, username=customer.username) for path in paths]

    assert {
        path: customer.api.get(path).status_code for path in found
    } == dict.fromkeys(found, 404)
