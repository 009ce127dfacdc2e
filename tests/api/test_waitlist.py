"""The waitlist over the API: joined, shown, left, and its offer taken."""

from instances import waitlist
from instances.models import GpuQuota, Plan, WaitlistEntry
from inventory.models import CardClaim
from tests.api.builders import ORDER, Customer, errors_of, make_customer
from tests.builders import make_gpu_model

PATH = "/gpucloud/waitlist"
WANTED = {"type": ORDER["type"], "region": ORDER["region"]}
UNKNOWN_TYPE = ("type", "A valid plan type by that ID was not found")
WIRE = "%Y-%m-%dT%H:%M:%S"


def test_a_place_in_line_becomes_a_machine(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    made = customer.api.post(PATH, WANTED)

    assert made.status_code == 200
    row = WaitlistEntry.objects.get()
    assert (row.account, row.created_by) == (customer.account, "user:carol")
    waiting = {
        "id": row.pk,
        **WANTED,
        "status": "waiting",
        "position": 1,
        "reservation": None,
        "held_until": None,
        "created": row.created_at.strftime(WIRE),
        "expires": row.expires_at.strftime(WIRE),
    }
    assert made.json() == waiting
    assert customer.api.get(PATH).json()["data"] == [waiting]

    waitlist.tell_waiting()

    offered = customer.api.get(f"{PATH}/{row.pk}").json()
    row.refresh_from_db()
    assert row.reservation is not None
    assert offered == {
        **waiting,
        "status": "offered",
        "position": None,
        "reservation": row.reservation.pk,
        "held_until": row.reservation.expires_at.strftime(WIRE),
    }
    (event,) = customer.api.get("/account/events").json()["data"]
    assert (event["action"], event["status"]) == ("gpu_available", "notification")
    assert event["entity"] == {
        "id": row.pk,
        "label": ORDER["type"],
        "type": "waitlist",
        "url": f"/v4/gpucloud/waitlist/{row.pk}",
    }
    filtered = customer.api.get(
        "/account/events", x_filter='{"entity.type": "waitlist"}'
    )
    assert filtered.json()["results"] == 1

    order = {**ORDER, "reservation": offered["reservation"]}
    assert customer.api.post("/linode/instances", order).status_code == 200

    used = '{"status": "used"}'
    (shown,) = customer.api.get(PATH, x_filter=used).json()["data"]
    assert shown["id"] == row.pk
    assert CardClaim.objects.count() == 1
    assert errors_of(customer.api.delete(f"{PATH}/{row.pk}")) == [
        (None, "This entry has ended.")
    ]


def test_who_leaves_is_not_found_any_more(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    entry = customer.api.post(PATH, WANTED).json()["id"]
    left = customer.api.delete(f"{PATH}/{entry}")
    assert (left.status_code, left.json()) == (200, {})
    assert customer.api.get(f"{PATH}/{entry}").status_code == 404
    assert customer.api.delete(f"{PATH}/{entry}").status_code == 404


def test_a_join_that_is_refused(
    customer: Customer, outsider: Customer, shop: dict[str, Plan]
) -> None:
    assert errors_of(outsider.api.post(PATH, WANTED)) == [UNKNOWN_TYPE]
    assert errors_of(customer.api.post(PATH, {"type": 5, "region": "x"})) == [
        UNKNOWN_TYPE,
        ("region", "region is not valid"),
    ]
    assert errors_of(customer.api.post(PATH, {"for": 1})) == [
        ("type", "type is required"),
        ("region", "region is required"),
        ("for", "There is no such field"),
    ]
    GpuQuota.objects.create(
        account=customer.account, gpu_model=make_gpu_model(), cards=0
    )
    ((field, reason),) = errors_of(customer.api.post(PATH, WANTED))
    assert field == "type"
    assert reason.startswith("Account Limit reached.")
    assert not WaitlistEntry.objects.exists()


def test_scopes_of_the_waitlist(db: None) -> None:
    reader = make_customer(scopes="linodes:read_only").api
    assert reader.get(PATH).status_code == 200
    assert reader.post(PATH, WANTED).status_code == 401
    assert make_customer(scopes="account:*").api.get(PATH).status_code == 401
