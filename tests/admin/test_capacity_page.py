"""The capacity page: who may see it, what it counts, and what it says of wrong input."""

import pytest
from django.test import Client

from instances.admin.capacity_page import PERMISSIONS
from instances.models import Account
from inventory.choices import HostPolicy
from inventory.models import Card, Host
from tests.admin.conftest import browser_of
from tests.builders import make_host, make_region

# The page sees one moment, in a transaction that has to be the outermost.
pytestmark = pytest.mark.django_db(transaction=True)


def test_before_and_after_stand_side_by_side(staff: Client, fleet: Host) -> None:
    card = Card.objects.order_by("pk")[0]

    page = staff.get(
        "/admin/capacity/",
        {
            "region": "us-east",
            "add_hosts": "1",
            "like": "host-a",
            "quarantine": str(card.pk),
            "plan": "cards=4 gpu_model=rtx6000 vcpus=4 memory_mib=1024",
        },
    )

    rows = [(row.plan, row.before, row.after) for row in page.context["rows"]]
    assert rows == [("gpu-1", 4, 7), ("gpu-2", 2, 3), ("new plan", None, 1)]
    fleet.refresh_from_db()
    assert (Host.objects.count(), fleet.policy) == (1, HostPolicy.IN_SERVICE)
    assert card.condition == Card.objects.get(pk=card.pk).condition


def test_page_begins_with_the_region_that_has_hosts(staff: Client, fleet: Host) -> None:
    make_region("ap-south")

    page = staff.get("/admin/capacity/")

    assert [row.before for row in page.context["rows"]] == [4, 2]


def test_stranded_cards_are_listed_with_their_reason(
    staff: Client, fleet: Host
) -> None:
    make_host("host-b", cards_per_node=(1,), memory_mib=128)

    page = staff.get("/admin/capacity/")

    assert page.context["report"].total == 1
    assert "node 0 of host-b: 1 card free, 128 of 128 MiB left" in page.text


def test_wrong_names_are_told_at_their_fields(staff: Client, fleet: Host) -> None:
    page = staff.get("/admin/capacity/", {"drain": "nope", "quarantine": "x"})
    assert page.context["form"].errors == {
        "quarantine": ["Write the ids of cards, such as 17 18."]
    }

    page = staff.get("/admin/capacity/", {"drain": "nope"})
    assert page.context["form"].errors == {"drain": ["'nope' is no host of us-east."]}
    assert page.context["rows"] == []


def test_page_needs_the_right_to_read(fleet: Host) -> None:
    assert browser_of(*PERMISSIONS).get("/admin/capacity/").status_code == 200
    assert browser_of(*PERMISSIONS[1:]).get("/admin/capacity/").status_code == 403


def test_launch_page_says_what_would_admit_a_refused_launch(
    staff: Client, fleet: Host, employee: Account
) -> None:
    Host.objects.update(policy=HostPolicy.DRAINING)
    form = staff.get("/admin/launch/").context["form"]
    data = {name: form[name].value() for name in ("plan", "region", "account", "image")}

    page = staff.post("/admin/launch/", {**data, "label": "", "key": "k1"})

    assert "1 host: draining" in page.text
    assert "Put host-a back in service: it is draining." in page.text
