"""GET /account/invoices: field by field, filtered, and an account's own."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from instances.invoicing import make_invoices
from instances.models import Instance, Plan, UsageInterval
from tests.api.builders import ORDER, Customer, make_customer

pytestmark = pytest.mark.django_db
BEGIN = datetime(2026, 3, 30, 12, tzinfo=UTC)


@pytest.fixture
def used(customer: Customer, shop: dict[str, Plan]) -> Instance:
    """Give an instance that ran for 90 minutes of March and of April, both invoiced."""
    made = customer.api.post("/linode/instances", {**ORDER, "label": "trainer"}).json()
    instance = Instance.objects.get(pk=made["id"])
    month_end = datetime(2026, 4, 1, tzinfo=UTC)
    UsageInterval.objects.create(
        instance=instance,
        plan=instance.plan,
        starts_at=month_end - timedelta(minutes=90),
        ends_at=month_end + timedelta(minutes=30),
        price_hourly=Decimal("1.5"),
        price_monthly=Decimal(1000),
        is_billed=True,
    )
    make_invoices(datetime(2026, 5, 2, tzinfo=UTC))
    return instance


def test_invoices_are_listed_and_viewed(customer: Customer, used: Instance) -> None:
    listed = customer.api.get("/account/invoices").json()

    first, second = listed["data"]
    assert first == {
        "id": first["id"],
        "label": "Invoice 2026-03",
        "date": "2026-04-01T00:00:00",
        "billing_source": "linode",
        "subtotal": 3,
        "tax": 0,
        "tax_summary": [],
        "total": 3,
    }
    assert (second["label"], second["total"]) == ("Invoice 2026-04", 1.5)
    assert customer.api.get(f"/account/invoices/{first['id']}").json() == first


def test_items_tell_of_each_linode(customer: Customer, used: Instance) -> None:
    first = customer.api.get("/account/invoices").json()["data"][0]

    items = customer.api.get(f"/account/invoices/{first['id']}/items").json()

    assert items["data"] == [
        {
            "label": f"{used.plan.label} - trainer ({used.pk})",
            "type": "hourly",
            "region": "us-east",
            "from": "2026-03-31T22:30:00",
            "to": "2026-04-01T00:00:00",
            "quantity": 2,
            "unit_price": "1.5000",
            "amount": 3,
            "tax": 0,
            "total": 3,
        }
    ]


@pytest.mark.parametrize(
    ("wanted", "labels"),
    [
        ({"total": 1.5}, ["Invoice 2026-04"]),
        ({"total": {"+gt": 1.5}}, ["Invoice 2026-03"]),
        ({"date": {"+lt": "2026-05-01T00:00:00"}}, ["Invoice 2026-03"]),
        ({"label": {"+contains": "-04"}}, ["Invoice 2026-04"]),
        ({"billing_source": "akamai"}, []),
        ({"+order_by": "total"}, ["Invoice 2026-04", "Invoice 2026-03"]),
    ],
)
def test_filters(
    customer: Customer, used: Instance, wanted: dict[str, Any], labels: list[str]
) -> None:
    answer = customer.api.get("/account/invoices", x_filter=json.dumps(wanted)).json()
    assert [row["label"] for row in answer["data"]] == labels


@pytest.mark.parametrize(
    "text", ['{"total": 1e999}', '{"total": true}', '{"total": "1"}']
)
def test_total_is_compared_with_numbers_alone(customer: Customer, text: str) -> None:
    answer = customer.api.get("/account/invoices", x_filter=text)
    assert answer.status_code == 400


def test_another_account_sees_none(used: Instance) -> None:
    assert make_customer().api.get("/account/invoices").json()["results"] == 0
