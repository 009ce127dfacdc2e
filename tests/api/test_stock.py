"""GPU models, inventory and quotes: the same truth as a create's, and nothing is written."""

from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from instances.models import ApiChange, GpuQuota, Instance, Plan, RegionPrice
from inventory.models import GpuModel, Host, Region
from tests.api.builders import ORDER, ApiClient, Customer, errors_of, make_customer
from tests.api.test_isolation import everything
from tests.api.test_reservations import UNKNOWN_TYPE, available
from tests.builders import (
    GPU_FLAG,
    make_flag,
    make_gpu_model,
    make_host,
    make_plan,
    make_region,
)

pytestmark = pytest.mark.django_db
GPU = "g1-gpu-rtx6000-1"
WANTED = {"type": GPU, "region": "us-east"}
SOLD_OUT = {
    "reason": f"No GPU capacity is available in us-east for {GPU} right now.",
    "field": "region",
}


def quoted(customer: Customer, **fields: Any) -> Any:
    answer = customer.api.post("/gpucloud/quotes", {**WANTED, **fields})
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_a_quote_says_what_fits_and_what_it_costs(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    assert quoted(customer) == {
        **WANTED,
        "count": 1,
        "gpus": 1,
        "fits": True,
        "refusals": [],
        "price": {"hourly": 1.5, "monthly": 1000},
        "total": {"hourly": 1.5, "monthly": 1000},
    }
    assert quoted(customer, count=5) == {
        **WANTED,
        "count": 5,
        "gpus": 5,
        "fits": False,
        "refusals": [SOLD_OUT],
        "price": {"hourly": 1.5, "monthly": 1000},
        "total": {"hourly": 7.5, "monthly": 5000},
    }


def test_a_regions_own_price_is_quoted(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    RegionPrice.objects.create(
        plan=shop["gpu"],
        region=Region.objects.get(slug="us-east"),
        price_hourly=Decimal("1.8"),
        price_monthly=Decimal(1200),
    )
    assert quoted(customer, count=2)["total"] == {"hourly": 3.6, "monthly": 2400}
    elsewhere = quoted(customer, region="ap-west")
    assert elsewhere["price"] == {"hourly": 1.5, "monthly": 1000}


@pytest.mark.parametrize("kind", [GPU, "pair", "three"])
def test_as_many_as_are_quoted_can_be_made(
    customer: Customer, shop: dict[str, Plan], kind: str, settings: Settings
) -> None:
    """Uneven hosts: what fits is no sum of free cards."""
    make_plan("pair", cards=2, vcpus=2, memory_mib=512, flag_name=GPU_FLAG)
    make_plan("three", cards=3, vcpus=3, memory_mib=768, flag_name=GPU_FLAG)
    region = Region.objects.get(slug="us-east")
    make_host(cards_per_node=(1, 2), region=region)
    make_host(cards_per_node=(3,), cores_per_node=2, region=region)
    settings.API_SHOWS_COUNTS = True
    listed = customer.api.get("/gpucloud/inventory?region=us-east").json()["data"]
    (how_many,) = [row["how_many"] for row in listed if row["type"] == kind]

    assert how_many >= 1
    assert quoted(customer, type=kind, count=how_many)["fits"]
    assert not quoted(customer, type=kind, count=how_many + 1)["fits"]
    for _ in range(how_many):
        assert quoted(customer, type=kind)["fits"]
        made = customer.api.post("/linode/instances", {**ORDER, "type": kind})
        assert made.status_code == 200
    sold_out = quoted(customer, type=kind)
    refused = customer.api.post("/linode/instances", {**ORDER, "type": kind})
    assert sold_out["refusals"] == refused.json()["errors"]
    assert Instance.objects.count() == how_many


def test_the_quota_is_quoted_as_a_create_would_say_it(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    GpuQuota.objects.create(
        account=customer.account, gpu_model=make_gpu_model(), cards=1
    )
    assert quoted(customer)["fits"]
    both = quoted(customer, count=5)
    assert [row["field"] for row in both["refusals"]] == ["type", "region"]
    assert customer.api.post("/linode/instances", ORDER).status_code == 200

    over = quoted(customer)

    refused = customer.api.post("/linode/instances", ORDER)
    assert over["refusals"] == refused.json()["errors"]
    assert "1 of 1 Quadro rtx6000 GPUs" in over["refusals"][0]["reason"]


def test_a_quote_writes_nothing_and_tells_nothing_of_hosts(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    before = everything()
    answers = [quoted(customer), quoted(customer, count=100)]

    assert everything() == before
    assert not ApiChange.objects.exists()
    assert Host.objects.get().name not in str(answers)


def test_all_that_is_wrong_with_a_quote_is_told(
    customer: Customer, outsider: Customer, shop: dict[str, Plan]
) -> None:
    def refused(who: Customer, body: Any) -> list[tuple[str | None, str]]:
        answer = who.api.post("/gpucloud/quotes", body)
        assert answer.status_code == 400
        return errors_of(answer)

    count = ("count", "count must be a whole number from 1 to 100")
    assert refused(customer, {}) == [
        ("type", "type is required"),
        ("region", "region is required"),
    ]
    wrong = {"type": "x", "region": "y", "count": 0, "for": 1}
    assert refused(customer, wrong) == [
        UNKNOWN_TYPE,
        ("region", "region is not valid"),
        count,
        ("for", "There is no such field"),
    ]
    for value in (0, 101, True, 1.0, "1", [1]):
        assert refused(customer, {**WANTED, "count": value}) == [count]
    assert refused(outsider, WANTED) == [UNKNOWN_TYPE]


def test_a_quote_needs_the_scope_of_a_create(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    reader = make_customer(scopes="linodes:read_only", account=customer.account)
    answer = reader.api.post("/gpucloud/quotes", WANTED)
    assert answer.status_code == 401
    assert answer["X-Accepted-OAuth-Scopes"] == "linodes:read_write"
    assert ApiClient().post("/gpucloud/quotes", WANTED).status_code == 401


def test_inventory_is_what_availability_says(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    def listed() -> Any:
        return customer.api.get("/gpucloud/inventory").json()["data"]

    assert listed() == [
        {
            "region": region,
            "type": GPU,
            "gpu_model": "rtx6000",
            "gpus": 1,
            "available": fits,
            "how_many": None,
        }
        for region, fits in (("ap-west", False), ("us-east", True))
    ]
    for _ in range(4):
        assert customer.api.post("/linode/instances", ORDER).status_code == 200
    said = available(customer.api)
    assert {row["region"]: row["available"] for row in listed()} == {
        region: fits for (region, plan), fits in said.items() if plan == GPU
    }
    assert not any(row["available"] for row in listed())


def test_counts_are_shown_where_the_operator_lets_them(
    customer: Customer, shop: dict[str, Plan], settings: Settings
) -> None:
    settings.API_SHOWS_COUNTS = True
    (row,) = customer.api.get("/gpucloud/inventory?region=us-east").json()["data"]
    assert row["how_many"] == 4
    only = customer.api.get("/gpucloud/inventory", x_filter='{"available": true}')
    assert only.json()["data"] == [row]


def test_inventory_knows_its_regions(customer: Customer, shop: dict[str, Plan]) -> None:
    Region.objects.filter(slug="ap-west").update(is_open=False)
    for region in ("nowhere", "ap-west", ""):
        answer = customer.api.get(f"/gpucloud/inventory?region={region}")
        assert errors_of(answer) == [("region", "region is not valid")]


def test_gpu_models_are_those_of_types_on_offer(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    make_gpu_model("unsold", "10de:ffff")
    model = GpuModel.objects.get(slug="rtx6000")

    answer = customer.api.get("/gpucloud/gpu-models").json()

    assert answer["data"] == [
        {
            "id": "rtx6000",
            "label": "Quadro rtx6000",
            "memory_mib": model.memory_mib,
            "pci_ids": ["10de:1e30"],
            "types": [GPU],
        }
    ]


@pytest.mark.parametrize("path", ["/gpucloud/gpu-models", "/gpucloud/inventory"])
def test_hidden_plans_are_not_betrayed(
    customer: Customer, outsider: Customer, shop: dict[str, Plan], path: str
) -> None:
    for api in (outsider.api, ApiClient()):
        assert api.get(path).json()["data"] == []
    make_flag(everyone=True)
    assert ApiClient().get(path).json()["data"] == customer.api.get(path).json()["data"]


@pytest.mark.parametrize(
    ("path", "queries"), [("/gpucloud/gpu-models", 4), ("/gpucloud/inventory", 4)]
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
            model = make_gpu_model(f"m{number}", f"10de:{number:04x}")
            make_region(f"r-{number}")
            make_plan(f"p-{number}", flag_name=GPU_FLAG, gpu_model=model)
        with django_assert_num_queries(queries):
            results = customer.api.get(path).json()["results"]
        assert (results > 30) is bool(more)
