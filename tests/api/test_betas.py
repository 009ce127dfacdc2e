"""Betas over the API: lists, enrolment, and what it opens."""

from datetime import timedelta

import pytest
from django.utils import timezone

from flags.models import Beta, BetaEnrolment
from instances.models import Account, ApiChange, Plan
from tests.api.builders import ORDER, Customer, errors_of, make_customer
from tests.builders import make_beta, make_flag, make_plan

WIRE = "%Y-%m-%dT%H:%M:%S"


@pytest.fixture
def beta(db: None) -> Beta:
    return make_beta("eight-gpus", flag=make_flag("eight-gpus"))


def test_a_beta_is_shown_field_for_field(customer: Customer, beta: Beta) -> None:
    started = beta.started_at.strftime(WIRE)
    shown = customer.api.get("/betas/eight-gpus").json()
    assert shown == {
        "id": "eight-gpus",
        "label": "Beta eight-gpus",
        "started": started,
        "greenlight_only": False,
    }
    assert customer.api.get("/betas").json()["data"] == [shown]

    ended = beta.started_at + timedelta(days=30)
    Beta.objects.update(
        ended_at=ended, description="Big.", more_info="https://example.net/beta"
    )
    assert customer.api.get("/betas/eight-gpus").json() == {
        **shown,
        "ended": ended.strftime(WIRE),
        "description": "Big.",
        "more_info": "https://example.net/beta",
    }


def test_enrolment_opens_the_plan_for_the_account(
    customer: Customer, shop: dict[str, Plan], beta: Beta
) -> None:
    make_plan("g9-gpu", cards=1, flag_name=beta.flag.name)
    order = {**ORDER, "type": "g9-gpu"}
    unknown = ("type", "A valid plan type by that ID was not found")
    assert errors_of(customer.api.post("/linode/instances", order)) == [unknown]
    assert customer.api.get("/account/betas").json()["data"] == []

    answer = customer.api.post("/account/betas", {"id": "eight-gpus"})

    assert (answer.status_code, answer.json()) == (200, {})
    row = BetaEnrolment.objects.get()
    assert (row.account, row.enrolled_by) == (customer.account, "user:carol")
    change = ApiChange.objects.latest("pk")
    assert (change.account, change.path, change.status) == (
        customer.account,
        "/v4/account/betas",
        200,
    )
    shown = customer.api.get("/account/betas/eight-gpus").json()
    assert shown == {
        "id": "eight-gpus",
        "label": "Beta eight-gpus",
        "description": None,
        "started": beta.started_at.strftime(WIRE),
        "ended": None,
        "enrolled": row.enrolled_at.strftime(WIRE),
    }
    assert customer.api.get("/account/betas").json()["data"] == [shown]
    assert customer.api.post("/linode/instances", order).status_code == 200
    stranger = make_customer("stranger")
    assert stranger.api.get("/account/betas/eight-gpus").status_code == 404
    assert errors_of(stranger.api.post("/linode/instances", order)) == [unknown]


def test_a_beta_that_is_over_or_unknown_takes_nobody(
    customer: Customer, beta: Beta
) -> None:
    now = timezone.now()
    make_beta("later", started_at=now + timedelta(days=1))
    make_beta("secret", greenlight_only=True)
    Beta.objects.filter(pk=beta.pk).update(ended_at=now)
    unknown = ("id", "A beta by that ID that goes on was not found")

    for beta_id in ("eight-gpus", "later", "secret", "nothing", 5, ["x"]):
        refused = customer.api.post("/account/betas", {"id": beta_id})
        assert refused.status_code == 400
        assert errors_of(refused) == [unknown]
    assert errors_of(customer.api.post("/account/betas", {"why": 1})) == [
        ("id", "id is required"),
        ("why", "There is no such field"),
    ]
    assert customer.api.get("/betas/later").status_code == 404
    assert customer.api.get("/betas/secret").status_code == 404
    assert not BetaEnrolment.objects.exists()


def test_a_beta_is_left_by_who_joined_it(customer: Customer, beta: Beta) -> None:
    customer.api.post("/account/betas", {"id": "eight-gpus"})

    left = customer.api.delete("/account/betas/eight-gpus")

    assert (left.status_code, left.json()) == (200, {})
    assert not BetaEnrolment.objects.exists()
    assert customer.api.delete("/account/betas/eight-gpus").status_code == 404
    assert ApiChange.objects.filter(method="DELETE", status=200).count() == 1


def test_a_beta_for_employees_is_one_while_they_are(beta: Beta) -> None:
    Beta.objects.update(account_tags=["employee"])
    employee, other = make_customer(), make_customer()
    Account.objects.filter(pk=employee.account.pk).update(tags=["employee"])
    make_plan("g9-gpu", cards=1, flag_name=beta.flag.name)

    joined = [
        each.api.post("/account/betas", {"id": "eight-gpus"}).status_code
        for each in (employee, other)
    ]

    assert joined == [200, 400]
    other.api.put("/account", {"tags": ["employee"]})
    other.api.post("/tags", {"label": "employee"})
    assert Account.objects.get(pk=other.account.pk).tags == []
    assert other.api.get("/betas").json()["data"] == []
    assert employee.api.get("/linode/types/g9-gpu").status_code == 200
    Account.objects.update(tags=[])
    assert employee.api.get("/linode/types/g9-gpu").status_code == 404


def test_scopes_of_betas(beta: Beta) -> None:
    reader = make_customer(scopes="account:read_only").api
    assert reader.get("/betas").status_code == 200
    assert reader.get("/account/betas").status_code == 200
    refused = reader.post("/account/betas", {"id": "eight-gpus"})
    assert refused.status_code == 401
    assert refused["X-Accepted-OAuth-Scopes"] == "account:read_write"
    assert make_customer(scopes="linodes:*").api.get("/betas").status_code == 401


def test_betas_are_filtered(customer: Customer, beta: Beta) -> None:
    make_beta("other", ended_at=timezone.now() + timedelta(days=1))
    for each in ("eight-gpus", "other"):
        customer.api.post("/account/betas", {"id": each})
    for path in ("/betas", "/account/betas"):
        for header in ('{"ended": null}', '{"label": "Beta eight-gpus"}'):
            (row,) = customer.api.get(path, x_filter=header).json()["data"]
            assert row["id"] == "eight-gpus"
