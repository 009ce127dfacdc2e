"""Reservations, quotas and availability over the API."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings

from flags.models import Flag
from instances import holds
from instances.models import (
    ApiChange,
    GpuQuota,
    Instance,
    Plan,
    Reservation,
)
from inventory.choices import HostPolicy
from inventory.models import CardClaim, Host
from tests.api.builders import ORDER, ApiClient, Customer, errors_of, make_customer
from tests.builders import make_flag, make_gpu_model

PATH = "/gpucloud/reservations"
UNKNOWN_TYPE = ("type", "A valid plan type by that ID was not found")


def at(**delta: int) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%S")


def wanted(**fields: Any) -> dict[str, Any]:
    body = {"type": ORDER["type"], "region": ORDER["region"], "expires": at(hours=1)}
    return {**body, **fields}


def test_reservation_is_made_listed_and_deleted(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    body = wanted()

    made = customer.api.post(PATH, body)

    assert made.status_code == 200
    row = Reservation.objects.get()
    assert made.json() == {
        "id": row.pk,
        "type": "g1-gpu-rtx6000-1",
        "region": "us-east",
        "gpus": 1,
        "status": "active",
        "created": row.created_at.strftime("%Y-%m-%dT%H:%M:%S"),
        "expires": body["expires"],
        "linode_id": None,
    }
    assert customer.api.get(f"{PATH}/{row.pk}").json() == made.json()
    listed = customer.api.get(PATH).json()
    assert listed == {"data": [made.json()], "page": 1, "pages": 1, "results": 1}

    deleted = customer.api.delete(f"{PATH}/{row.pk}")

    assert (deleted.status_code, deleted.json()) == (200, {})
    assert not CardClaim.objects.filter(released_at=None).exists()
    assert customer.api.get(f"{PATH}/{row.pk}").status_code == 404
    assert customer.api.delete(f"{PATH}/{row.pk}").status_code == 404


def test_create_names_a_reservation(customer: Customer, shop: dict[str, Plan]) -> None:
    reservation = customer.api.post(PATH, wanted()).json()["id"]

    made = customer.api.post("/linode/instances", {**ORDER, "reservation": reservation})

    assert made.status_code == 200
    row = customer.api.get(f"{PATH}/{reservation}").json()
    assert (row["status"], row["linode_id"]) == ("used", made.json()["id"])
    assert Instance.objects.get().uuid == Reservation.objects.get().uuid
    assert CardClaim.objects.count() == 1
    deleted = customer.api.delete(f"{PATH}/{reservation}")
    assert errors_of(deleted) == [(None, "This reservation has ended.")]
    again = customer.api.post(
        "/linode/instances", {**ORDER, "reservation": reservation}
    )
    assert errors_of(again) == [("reservation", "This reservation has been used")]


@pytest.mark.parametrize("value", ["x", True, 1.5, -1, 2**63, [1]])
def test_reservation_of_a_create_is_an_id(
    customer: Customer, shop: dict[str, Plan], value: Any
) -> None:
    refused = customer.api.post("/linode/instances", {**ORDER, "reservation": value})

    assert refused.status_code == 400
    assert errors_of(refused) == [
        ("reservation", "reservation must be a reservation's id")
    ]
    assert not Instance.objects.exists()


def test_everything_that_is_wrong_is_told(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    empty = customer.api.post(PATH, {})
    wrong = customer.api.post(
        PATH, {"type": "x", "region": "y", "expires": "soon", "for": 3}
    )
    past = customer.api.post(PATH, wanted(expires=at(hours=-1)))
    far = customer.api.post(PATH, wanted(expires=at(days=8)))

    assert errors_of(empty) == [
        ("type", "type is required"),
        ("region", "region is required"),
        ("expires", "expires is required"),
    ]
    assert errors_of(wrong) == [
        UNKNOWN_TYPE,
        ("region", "region is not valid"),
        ("expires", "expires must be like 2026-01-31T12:00:00, UTC"),
        ("for", "There is no such field"),
    ]
    assert errors_of(past) == [("expires", "expires must be in the future")]
    assert errors_of(far) == [("expires", "expires must be within 168 hours from now")]
    assert not Reservation.objects.exists()


def test_reservations_of_others_are_unknown(
    customer: Customer, outsider: Customer, shop: dict[str, Plan]
) -> None:
    reservation = customer.api.post(PATH, wanted()).json()["id"]

    assert outsider.api.get(f"{PATH}/{reservation}").status_code == 404
    assert outsider.api.delete(f"{PATH}/{reservation}").status_code == 404
    assert outsider.api.get(PATH).json()["data"] == []
    assert errors_of(outsider.api.post(PATH, wanted())) == [UNKNOWN_TYPE]
    assert Reservation.objects.get().state == "active"


def test_repeated_key_reserves_once(customer: Customer, shop: dict[str, Plan]) -> None:
    body = wanted()
    first = customer.api.post(PATH, body, idempotency_key="k")
    second = customer.api.post(PATH, body, idempotency_key="k")
    other = customer.api.post(PATH, wanted(expires=at(hours=2)), idempotency_key="k")

    assert first.json() == second.json()
    assert CardClaim.objects.count() == 1
    assert errors_of(other) == [
        (None, "This Idempotency-Key was used for another request. Use a new key.")
    ]


def test_list_is_filtered_and_needs_its_scope(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    kept = customer.api.post(PATH, wanted()).json()["id"]
    over = customer.api.post(PATH, wanted()).json()["id"]
    Reservation.objects.filter(pk=over).update(expires_at=datetime.now(UTC))
    assert holds.expire_due() == 1

    active = customer.api.get(PATH, x_filter='{"status": "active"}').json()["data"]
    assert [row["id"] for row in active] == [kept]
    latest = customer.api.get(
        PATH, x_filter='{"+order_by": "expires", "+order": "desc"}'
    ).json()["data"]
    assert [row["status"] for row in latest] == ["active", "expired"]
    small = make_customer(scopes="events:read_only", account=customer.account)
    assert small.api.get(PATH).status_code == 401


def test_sold_out_and_quota_have_errors_of_their_own(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    for _ in range(2):
        assert customer.api.post(PATH, wanted()).status_code == 200
    quota = GpuQuota.objects.create(
        account=customer.account, gpu_model=make_gpu_model(), cards=2
    )

    over = customer.api.post(PATH, wanted())
    assert over.status_code == 400
    assert errors_of(over) == [
        (
            "type",
            "Account Limit reached. 2 of 2 Quadro rtx6000 GPUs are in use or reserved, "
            "and this asks for 1 more. Please open a support ticket.",
        )
    ]
    assert errors_of(customer.api.post("/linode/instances", ORDER)) == errors_of(over)
    quotas = customer.api.get("/gpucloud/quotas").json()
    assert quotas["data"] == [
        {"gpu_model": "rtx6000", "label": "Quadro rtx6000", "allowed": 2, "used": 2}
    ]
    quota.delete()
    Host.objects.update(policy=HostPolicy.DRAINING)
    assert errors_of(customer.api.post(PATH, wanted())) == [
        (
            "region",
            "No GPU capacity is available in us-east for g1-gpu-rtx6000-1 right now.",
        )
    ]


def test_quotas_betray_no_hidden_model(
    outsider: Customer, shop: dict[str, Plan]
) -> None:
    assert outsider.api.get("/gpucloud/quotas").json()["data"] == []


def available(api: ApiClient, path: str = "/regions/availability") -> Any:
    body = api.get(path).json()
    rows = body["data"] if isinstance(body, dict) else body
    return {(row["region"], row["plan"]): row["available"] for row in rows}


def test_availability_is_what_fits_now(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    gpu, plain = "g1-gpu-rtx6000-1", "g6-standard-2"
    assert available(customer.api) == {
        ("us-east", plain): True,
        ("us-east", gpu): True,
        ("ap-west", plain): False,
        ("ap-west", gpu): False,
    }
    one = customer.api.get("/regions/us-east/availability").json()
    assert one == [
        {"region": "us-east", "plan": plain, "available": True},
        {"region": "us-east", "plan": gpu, "available": True},
    ]

    for _ in range(4):
        assert customer.api.post(PATH, wanted()).status_code == 200

    assert available(customer.api)["us-east", gpu] is False
    assert available(customer.api, "/regions/us-east/availability") == {
        ("us-east", plain): False,
        ("us-east", gpu): False,
    }
    assert customer.api.get("/regions/nowhere/availability").status_code == 404


def test_hidden_plans_are_not_betrayed(
    customer: Customer, outsider: Customer, anyone: ApiClient, shop: dict[str, Plan]
) -> None:
    for api in (outsider.api, anyone):
        plans = {plan for _, plan in available(api)}
        assert plans == {"g6-standard-2"}
        assert {p for _, p in available(api, "/regions/us-east/availability")} == plans
    Flag.objects.update(everyone=False)
    assert {plan for _, plan in available(customer.api)} == {"g6-standard-2"}
    make_flag(everyone=True)
    assert len(available(anyone)) == 4


@pytest.mark.parametrize(
    ("header", "count"),
    [
        ('{"region": "us-east"}', 2),
        ('{"available": true}', 2),
        ('{"available": false, "plan": "g6-standard-2"}', 1),
        ('{"plan": {"+contains": "GPU"}}', 2),
        ('{"plan": {"+neq": "g6-standard-2"}}', 2),
        ('{"+or": [{"region": "ap-west"}, {"plan": "g6-standard-2"}]}', 3),
        ('{"+and": [{"region": "ap-west"}, {"+limit": 1}]}', 1),
        ('{"+or": [{}, {"region": "nowhere"}]}', 4),
        ('{"region": null}', 0),
        ('{"plan": {"+gt": "g1-gpu-rtx6000-1"}}', 2),
    ],
)
def test_availability_is_filtered(
    customer: Customer, shop: dict[str, Plan], header: str, count: int
) -> None:
    body = customer.api.get("/regions/availability", x_filter=header).json()

    assert body["results"] == len(body["data"]) == count


def test_availability_is_ordered_paged_and_refuses_strange_filters(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    path = "/regions/availability"
    header = '{"+order_by": "region", "+order": "desc"}'

    rows = customer.api.get(path, x_filter=header).json()["data"]

    assert [row["region"] for row in rows] == ["us-east"] * 2 + ["ap-west"] * 2
    page = customer.api.get(f"{path}?page=2&page_size=25").json()
    assert page == {"data": [], "page": 2, "pages": 1, "results": 4}
    for wrong in ('{"cards": 1}', '{"available": 1}', '{"available": {"+gt": true}}'):
        assert customer.api.get(path, x_filter=wrong).status_code == 400


def test_a_token_that_may_only_read_reserves_and_releases_nothing(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    row = customer.api.post(PATH, wanted()).json()["id"]
    reader = make_customer(scopes="linodes:read_only", account=customer.account)

    refused = [reader.api.post(PATH, wanted()), reader.api.delete(f"{PATH}/{row}")]

    assert [answer.status_code for answer in refused] == [401, 401]
    accepted = {answer["X-Accepted-OAuth-Scopes"] for answer in refused}
    assert accepted == {"linodes:read_write"}
    assert reader.api.get(f"{PATH}/{row}").json()["status"] == "active"
    assert Reservation.objects.count() == 1


def test_reserving_and_releasing_are_on_the_trail(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    row = customer.api.post(PATH, wanted()).json()["id"]
    customer.api.post(PATH, {})
    customer.api.delete(f"{PATH}/{row}")

    trail = ApiChange.objects.order_by("pk")

    assert list(trail.values_list("method", "path", "status", "object_id")) == [
        ("POST", f"/v4{PATH}", 200, str(row)),
        ("POST", f"/v4{PATH}", 400, ""),
        ("DELETE", f"/v4{PATH}/{row}", 200, ""),
    ]


@override_settings(API_RATE_LIMIT=1, API_RATE_WINDOW_S=10**9)
def test_reserving_counts_in_the_rate_limit(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    answers = [customer.api.post(PATH, wanted()) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 429]
    assert Reservation.objects.count() == 1
