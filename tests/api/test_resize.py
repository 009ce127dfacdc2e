"""POST /linode/instances/{id}/resize: what is asked, what is refused and in which words."""

from typing import Any

import pytest

from instances.models import Job, PendingResize, Plan
from inventory.models import CardClaim
from tests.api.builders import Customer, errors_of, running_instance
from tests.builders import GPU_FLAG, make_plan

pytestmark = pytest.mark.django_db
LARGER = "g1-gpu-rtx6000-2"


@pytest.fixture
def larger(shop: dict[str, Plan]) -> Plan:
    return make_plan(LARGER, cards=2, flag_name=GPU_FLAG)


def test_resize_claims_beside_and_shows_linodes_words(
    customer: Customer, larger: Plan
) -> None:
    linode = running_instance(customer)

    answer = customer.api.post(
        f"/linode/instances/{linode}/resize",
        {"type": LARGER, "allow_auto_disk_resize": False, "migration_type": "warm"},
    )

    assert (answer.status_code, answer.json()) == (200, {})
    shown = customer.api.get(f"/linode/instances/{linode}").json()
    assert (shown["status"], shown["type"]) == ("resizing", "g1-gpu-rtx6000-1")
    event = customer.api.get("/account/events").json()["data"][0]
    assert (event["action"], event["status"]) == ("linode_resize", "scheduled")
    assert CardClaim.objects.filter(released_at=None).count() == 3
    assert PendingResize.objects.get().grows_disk is False
    again = customer.api.post(f"/linode/instances/{linode}/resize", {"type": LARGER})
    assert errors_of(again) == [(None, "Linode busy.")]


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, [("type", "type is required")]),
        ({"type": 2}, [("type", "type must be a string")]),
        ({"type": "nope"}, [("type", "A valid plan type by that ID was not found")]),
        (
            {"type": "g1-gpu-rtx6000-1"},
            [(None, "Linode is already running this service plan.")],
        ),
        (
            {"type": LARGER, "allow_auto_disk_resize": "no", "migration_type": "hot"},
            [
                (
                    "allow_auto_disk_resize",
                    "allow_auto_disk_resize must be true or false",
                ),
                ("migration_type", "migration_type must be cold or warm"),
            ],
        ),
        (
            {"type": LARGER, "migration_type": []},
            [("migration_type", "migration_type must be cold or warm")],
        ),
        ({"type": LARGER, "size": 1}, [("size", "There is no such field")]),
        (
            {"type": "four"},
            [
                (
                    "type",
                    "There is no room for four beside this Linode on its host right "
                    "now. Try again later, or create a Linode of that type.",
                )
            ],
        ),
    ],
)
def test_what_is_wrong_is_said_and_nothing_changes(
    customer: Customer, larger: Plan, body: Any, errors: list[tuple[str | None, str]]
) -> None:
    make_plan("four", cards=4)
    linode = running_instance(customer)
    jobs = Job.objects.count()

    answer = customer.api.post(f"/linode/instances/{linode}/resize", body)

    assert answer.status_code == 400
    assert errors_of(answer) == errors
    assert Job.objects.count() == jobs
    assert CardClaim.objects.filter(released_at=None).count() == 1


def test_plan_behind_a_shut_flag_does_not_exist(
    outsider: Customer, larger: Plan
) -> None:
    linode = running_instance(outsider, type="g6-standard-2")

    answer = outsider.api.post(f"/linode/instances/{linode}/resize", {"type": LARGER})

    assert errors_of(answer) == [("type", "A valid plan type by that ID was not found")]
