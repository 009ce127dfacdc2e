"""GET /gpucloud/usage: an account's own, by month, and what is wrong with a month."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from instances.models import Instance, Plan, UsageInterval
from tests.api.builders import ORDER, Customer, errors_of, make_customer

pytestmark = pytest.mark.django_db
BEGIN = datetime(2026, 3, 30, 12, tzinfo=UTC)


@pytest.fixture
def used(customer: Customer, shop: dict[str, Plan]) -> Instance:
    """Give an instance that ran for 90 minutes of March."""
    made = customer.api.post("/linode/instances", {**ORDER, "label": "trainer"}).json()
    instance = Instance.objects.get(pk=made["id"])
    UsageInterval.objects.create(
        instance=instance,
        plan=instance.plan,
        starts_at=BEGIN,
        ends_at=BEGIN + timedelta(minutes=90),
        price_hourly=Decimal("1.5"),
        price_monthly=Decimal(1000),
        is_billed=True,
    )
    return instance


def test_month_lists_what_was_used(customer: Customer, used: Instance) -> None:
    answer = customer.api.get("/gpucloud/usage?month=2026-03").json()

    assert answer == {
        "data": [
            {
                "month": "2026-03",
                "linode_id": used.pk,
                "label": "trainer",
                "region": "us-east",
                "type": ORDER["type"],
                "gpus": 1,
                "begin": "2026-03-30T12:00:00",
                "end": "2026-03-30T13:30:00",
                "hours": 2,
                "gpu_hours": 2,
                "is_billed": True,
                "amount": 3,
            }
        ],
        "page": 1,
        "pages": 1,
        "results": 1,
    }
    assert customer.api.get("/gpucloud/usage?month=2026-04").json()["results"] == 0


def test_filter_names_a_linode(customer: Customer, used: Instance) -> None:
    for linode_id, results in ((used.pk, 1), (used.pk + 1, 0)):
        answer = customer.api.get(
            "/gpucloud/usage?month=2026-03", x_filter=f'{{"linode_id": {linode_id}}}'
        )
        assert answer.json()["results"] == results


def test_usage_of_another_account_is_not_shown(used: Instance) -> None:
    answer = make_customer().api.get("/gpucloud/usage?month=2026-03").json()
    assert answer["results"] == 0


@pytest.mark.parametrize("month", ["", "March", "2026-13", "2026-03-01"])
def test_what_is_no_month_is_refused(month: str, customer: Customer) -> None:
    response = customer.api.get(f"/gpucloud/usage?month={month}")
    assert response.status_code == 400
    assert errors_of(response) == [("month", "Must be like 2026-11")]


def test_scope_of_accounts_is_needed(used: Instance) -> None:
    outsider = make_customer(scopes="linodes:read_write")
    assert outsider.api.get("/gpucloud/usage").status_code == 401
