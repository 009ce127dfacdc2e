"""What a customer may say of a new guest's inside, and where it can be reached."""

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from passlib.hash import sha512_crypt
from pytest_django import Settings

from instances.models import Image, Instance, Plan, SeedSettings
from instances.sealed_user_data import opened_user_data
from instances.selectors import spec_of
from inventory.models import AddressClaim, Host
from tests.api.builders import Customer, errors_of
from tests.builders import make_disk_image, make_network, make_plan
from tests.instances.test_ssh_keys import ED25519, WEAK_RSA

PASSWORD = "Sonnenblume-7"


@pytest.fixture
def image(shop: dict[str, Plan], tmp_path: Path, settings: Settings) -> Image:
    settings.IMAGE_FOLDER = str(tmp_path)
    make_plan("disk-plan", cards=0, memory_mib=128, disk_mib=64)
    return make_disk_image(tmp_path)


def order(**fields: Any) -> dict[str, Any]:
    return {
        "type": "disk-plan",
        "region": "us-east",
        "image": "linode/debian12",
        "root_pass": PASSWORD,
        "authorized_keys": [ED25519],
        **fields,
    }


def encoded(content: bytes) -> dict[str, str]:
    return {"user_data": base64.b64encode(content).decode()}


def test_password_becomes_a_hash_before_it_is_stored(
    customer: Customer, image: Image
) -> None:
    body = order(authorized_keys=[f" {ED25519} me "], metadata=encoded(b"\x00\xff"))

    answer = customer.api.post("/linode/instances", body)

    assert answer.status_code == 200
    assert answer.json()["has_user_data"] is True
    kept = SeedSettings.objects.get()
    assert sha512_crypt.verify(PASSWORD, kept.password_hash)
    assert kept.authorized_keys == [f"{ED25519} me"]
    assert opened_user_data(bytes(kept.user_data)) == b"\x00\xff"
    rows = [str(vars(row)) for row in (kept, Instance.objects.get())]
    assert not any(PASSWORD in row for row in rows)


def test_instance_shows_its_addresses(customer: Customer, image: Image) -> None:
    make_network(Host.objects.get(), first=10, last=10, ipv6_prefix="2001:db8::/64")

    made = customer.api.post("/linode/instances", order()).json()

    assert made["ipv4"] == ["10.9.0.10"]
    assert made["ipv6"] == "2001:db8::67:aff:fe09:a/128"
    (listed,) = customer.api.get("/linode/instances").json()["data"]
    assert (listed["ipv4"], listed["ipv6"]) == (made["ipv4"], made["ipv6"])
    ips = customer.api.get(f"/linode/instances/{made['id']}/ips").json()
    (public,) = ips["ipv4"]["public"]
    assert (public["address"], public["gateway"], public["prefix"]) == (
        "10.9.0.10",
        "10.9.0.1",
        24,
    )
    assert public["subnet_mask"] == "255.255.255.0"
    assert (public["linode_id"], public["region"]) == (made["id"], "us-east")
    assert ips["ipv6"]["slaac"]["address"] == "2001:db8::67:aff:fe09:a"
    assert ips["ipv6"]["link_local"]["address"] == "fe80::67:aff:fe09:a"


def test_create_from_a_reservation_has_address_disk_and_settings(
    customer: Customer, image: Image
) -> None:
    make_network(Host.objects.get(), first=10, last=10)
    expires = f"{timezone.now() + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}"
    wanted = {"type": "disk-plan", "region": "us-east", "expires": expires}
    reservation = customer.api.post("/gpucloud/reservations", wanted).json()["id"]
    # Kept capacity has no guest yet, so no address either.
    assert not AddressClaim.objects.exists()

    body = order(reservation=reservation, metadata=encoded(b"x"))
    made = customer.api.post("/linode/instances", body)

    assert made.status_code == 200
    assert made.json()["ipv4"] == ["10.9.0.10"]
    instance = Instance.objects.get()
    assert opened_user_data(bytes(instance.seed_settings.user_data)) == b"x"
    spec = spec_of(instance)
    assert spec is not None
    assert spec.nic is not None
    assert spec.nic.ipv4 == "10.9.0.10"
    assert [disk.is_read_only for disk in spec.disks] == [False, True]


def test_reservation_outlives_a_create_for_which_no_address_is_left(
    customer: Customer, image: Image
) -> None:
    make_network(Host.objects.get(), first=10, last=10)
    customer.api.post("/linode/instances", order())
    expires = f"{timezone.now() + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}"
    wanted = {"type": "disk-plan", "region": "us-east", "expires": expires}
    reservation = customer.api.post("/gpucloud/reservations", wanted).json()["id"]

    answer = customer.api.post("/linode/instances", order(reservation=reservation))

    reason = "No IPv4 address is available in us-east for disk-plan right now."
    assert errors_of(answer) == [("region", reason)]
    kept = customer.api.get(f"/gpucloud/reservations/{reservation}").json()
    assert (kept["status"], kept["linode_id"]) == ("active", None)
    assert Instance.objects.count() == 1


def test_instance_is_found_by_its_address(customer: Customer, image: Image) -> None:
    make_network(Host.objects.get(), first=10, last=10)
    customer.api.post("/linode/instances", order())

    for wanted, count in (("10.9.0.10", 1), ("10.9.0.11", 0)):
        found = customer.api.get(
            "/linode/instances", x_filter=f'{{"ipv4": "{wanted}"}}'
        )
        assert found.json()["results"] == count


def test_instance_without_network_has_no_addresses(
    customer: Customer, image: Image
) -> None:
    made = customer.api.post("/linode/instances", order()).json()

    assert (made["ipv4"], made["ipv6"]) == ([], None)
    ips = customer.api.get(f"/linode/instances/{made['id']}/ips").json()
    assert ips["ipv4"]["public"] == []
    for kind in ("slaac", "link_local"):
        assert (ips["ipv6"][kind]["address"], ips["ipv6"][kind]["public"]) == (
            "",
            False,
        )
    assert customer.api.get("/linode/instances/999999/ips").status_code == 404


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"root_pass": "short"}, "root_pass", "7 to 128 characters"),
        ({"root_pass": "onlyletters"}, "root_pass", "strength requirement"),
        ({"authorized_keys": ["x"]}, "authorized_keys", "SSH key 1 must begin with"),
        (
            {"authorized_keys": [WEAK_RSA]},
            "authorized_keys",
            "RSA of less than 2048 bits",
        ),
        ({"authorized_users": ["nobody"]}, "authorized_users", "nobody is no user"),
        ({"metadata": {"user_data": "§"}}, "metadata.user_data", "in base64"),
        ({"metadata": {"other": "x"}}, "metadata.user_data", "in base64"),
        ({"metadata": "x"}, "metadata.user_data", "in base64"),
        (
            {"metadata": encoded(b"x" * 65536)},
            "metadata.user_data",
            "at most 65535 bytes",
        ),
        ({"type": "g6-standard-2"}, "image", "needs 2 MB of disk; g6-standard-2 has 0"),
        (
            {"image": "gpucloud/probe", "metadata": encoded(b"x")},
            "metadata.user_data",
            "does not read user data",
        ),
    ],
)
def test_bad_settings_are_refused_before_anything_is_claimed(
    customer: Customer, image: Image, fields: dict[str, Any], field: str, reason: str
) -> None:
    answer = customer.api.post("/linode/instances", order(**fields))

    assert answer.status_code == 400
    ((found, why),) = errors_of(answer)
    assert found == field
    assert reason in why
    assert Instance.objects.count() == 0
    assert SeedSettings.objects.count() == 0


def test_repeated_create_with_other_user_data_is_refused(
    customer: Customer, image: Image
) -> None:
    first = customer.api.post("/linode/instances", order(), idempotency_key="k")
    again = customer.api.post("/linode/instances", order(), idempotency_key="k")
    other = customer.api.post(
        "/linode/instances", order(metadata=encoded(b"x")), idempotency_key="k"
    )

    assert again.json()["id"] == first.json()["id"]
    assert other.status_code == 400
    assert Instance.objects.count() == 1


def test_image_says_whether_it_reads_cloud_init(
    customer: Customer, image: Image
) -> None:
    listed = customer.api.get("/images").json()["data"]

    shown = {row["id"]: (row["capabilities"], row["size"]) for row in listed}
    assert shown == {
        "linode/debian12": (["cloud-init"], 2),
        "gpucloud/probe": ([], 1),
    }
