"""Regions, types and images: their shapes, and what a shut flag hides."""

from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from instances.choices import ImageStatus
from instances.models import Plan, RegionPrice
from inventory.card_actions import quarantine, retire
from inventory.ledger import Actor
from inventory.models import Card, Region
from tests.api.builders import ApiClient, Customer
from tests.builders import GPU_FLAG, make_flag, make_image, make_plan, make_region

pytestmark = pytest.mark.django_db
PLAIN = ["Linodes", "Cloud Firewall", "Placement Group"]


def ids(response: Any) -> list[str]:
    assert response.status_code == 200
    return [row["id"] for row in response.json()["data"]]


def test_region(customer: Customer, shop: dict[str, Plan]) -> None:
    assert customer.api.get("/regions/us-east").json() == {
        "id": "us-east",
        "label": "Newark, NJ",
        "country": "us",
        "capabilities": ["Linodes", "GPU Linodes", "Cloud Firewall", "Placement Group"],
        "status": "ok",
        "site_type": "core",
        "resolvers": {"ipv4": "", "ipv6": ""},
        "monitors": {"alerts": [], "metrics": []},
        "placement_group_limits": {
            "maximum_pgs_per_customer": 100,
            "maximum_linodes_per_pg": 10,
            "maximum_linodes_per_flexible_pg": 10,
        },
    }


def test_type(customer: Customer, shop: dict[str, Plan]) -> None:
    Plan.objects.filter(slug="g1-gpu-rtx6000-1").update(
        price_hourly="0.0360",
        price_monthly="24.00",
        transfer_gb=16000,
        network_out_mbps=10000,
        disk_mib=655360,
    )
    assert customer.api.get("/linode/types/g1-gpu-rtx6000-1").json() == {
        "id": "g1-gpu-rtx6000-1",
        "label": "1 cards",
        "class": "gpu",
        "vcpus": 1,
        "memory": 256,
        "disk": 655360,
        "transfer": 16000,
        "network_out": 10000,
        "gpus": 1,
        "accelerated_devices": 0,
        "price": {"hourly": 0.036, "monthly": 24},
        "region_prices": [],
        "addons": {
            "backups": {
                "price": {"hourly": None, "monthly": None},
                "region_prices": [],
            }
        },
        "successor": None,
    }


def test_type_says_where_it_costs_other_than_elsewhere(
    anyone: ApiClient,
    shop: dict[str, Plan],
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for plan, hourly in ((shop["plain"], "0.0432"), (make_plan(cards=0), "2")):
        RegionPrice.objects.create(
            plan=plan,
            region=Region.objects.get(slug="ap-west"),
            price_hourly=hourly,
            price_monthly="28.80",
        )
    wanted = [{"id": "ap-west", "hourly": 0.0432, "monthly": 28.8}]

    shown = anyone.get("/linode/types/g6-standard-2").json()

    assert (shown["region_prices"], shown["price"]) == (
        wanted, {"hourly": 1.5, "monthly": 1000},
    )  # fmt: skip
    with django_assert_num_queries(3):
        listed = anyone.get("/linode/types").json()["data"]
    assert [[p["hourly"] for p in row["region_prices"]] for row in listed] == [
        [2], [0.0432],
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["/images/gpucloud/probe", "/images/gpucloud%2Fprobe"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_image(anyone: ApiClient, path: str, slash: str) -> None:
    image = make_image(description="Prints its cards.", vendor="gpucloud", size_mib=7)
    created = image.created_at.strftime("%Y-%m-%dT%H:%M:%S")
    assert anyone.get(f"{path}{slash}").json() == {
        "id": "gpucloud/probe",
        "label": "GPU probe",
        "description": "Prints its cards.",
        "vendor": "gpucloud",
        "type": "manual",
        "status": "available",
        "is_public": True,
        "is_shared": False,
        "image_sharing": {"shared_by": None, "shared_with": None},
        "deprecated": False,
        "size": 7,
        "total_size": 7,
        "capabilities": [],
        "regions": [],
        "tags": [],
        "created": created,
        "updated": created,
        "created_by": None,
        "eol": None,
        "expiry": None,
    }


@pytest.mark.parametrize("path", ["/regions", "/linode/types", "/images"])
def test_a_list_holds_what_the_single_object_is(
    customer: Customer, shop: dict[str, Plan], path: str
) -> None:
    body = customer.api.get(path).json()
    assert set(body) == {"data", "page", "pages", "results"}
    assert body["results"] == len(body["data"]) > 0
    for row in body["data"]:
        assert customer.api.get(f"{path}/{row['id']}").json() == row


def test_types_are_listed_in_the_order_of_the_shop_window(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    found = ids(customer.api.get("/linode/types"))
    assert found == ["g6-standard-2", "g1-gpu-rtx6000-1"]


def test_a_shut_flag_hides_gpus_from_everyone_else(
    customer: Customer, outsider: Customer, anyone: ApiClient, shop: dict[str, Plan]
) -> None:
    for api in (outsider.api, anyone):
        assert ids(api.get("/linode/types")) == ["g6-standard-2"]
        hidden = api.get("/linode/types/g1-gpu-rtx6000-1")
        unknown = api.get("/linode/types/g9-nothing")
        assert hidden.status_code == unknown.status_code == 404
        assert hidden.content == unknown.content
        assert api.get("/regions/us-east").json()["capabilities"] == PLAIN
    assert len(ids(customer.api.get("/linode/types"))) == 2


def test_an_employee_sees_what_is_not_on_sale_yet(
    outsider: Customer, shop: dict[str, Plan]
) -> None:
    make_flag(tags=("employee",))
    assert ids(outsider.api.get("/linode/types")) == ["g6-standard-2"]
    outsider.account.tags = ["employee"]
    outsider.account.save()
    assert len(ids(outsider.api.get("/linode/types"))) == 2


def test_a_flag_for_everyone_shows_gpus_to_nobody_in_particular(
    anyone: ApiClient, shop: dict[str, Plan]
) -> None:
    make_flag(everyone=True)
    assert len(ids(anyone.get("/linode/types"))) == 2
    assert "GPU Linodes" in anyone.get("/regions/us-east").json()["capabilities"]


def test_a_killed_flag_hides_gpus_at_once(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    make_flag(everyone=False, accounts=(customer.account,))
    assert ids(customer.api.get("/linode/types")) == ["g6-standard-2"]
    assert customer.api.get("/regions/us-east").json()["capabilities"] == PLAIN


def test_a_region_without_cards_offers_no_gpus(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    assert customer.api.get("/regions/ap-west").json()["capabilities"] == PLAIN


def test_a_region_whose_cards_are_all_retired_offers_no_gpus(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    actor = Actor("user:tester", "a test")
    for card in Card.objects.all():
        quarantine(card.pk, actor)
        retire(card.pk, actor)
    assert customer.api.get("/regions/us-east").json()["capabilities"] == PLAIN


def test_a_region_with_cards_of_no_visible_plan_offers_no_gpus(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    Plan.objects.filter(cards__gt=0).update(is_sold=False)
    assert customer.api.get("/regions/us-east").json()["capabilities"] == PLAIN


def test_what_is_closed_or_unfinished_is_not_shown(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    make_region("eu-north")
    Region.objects.filter(slug="eu-north").update(is_open=False)
    make_image("gpucloud/half", status=ImageStatus.PENDING_UPLOAD)
    make_plan("g6-old", cards=0, is_sold=False)
    assert ids(customer.api.get("/regions")) == ["ap-west", "us-east"]
    assert ids(customer.api.get("/images")) == ["gpucloud/probe"]
    for path in ("/regions/eu-north", "/images/gpucloud/half", "/linode/types/g6-old"):
        assert customer.api.get(path).status_code == 404


@pytest.mark.parametrize(
    ("path", "queries"), [("/regions", 4), ("/linode/types", 4), ("/images", 3)]
)
def test_query_count_does_not_depend_on_the_number_of_rows(
    customer: Customer,
    shop: dict[str, Plan],
    path: str,
    queries: int,
    django_assert_num_queries: Any,
) -> None:
    for more in range(2):
        for number in range(30 * more):
            make_region(f"r-{number}")
            make_plan(f"p-{number}", flag_name=GPU_FLAG)
            make_image(f"gpucloud/i-{number}")
        # The token is looked up by a prepared statement, which does not show here.
        with django_assert_num_queries(queries):
            results = customer.api.get(path).json()["results"]
        assert (results > 30) is bool(more)
