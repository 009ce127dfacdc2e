"""The fleet map: what it shows is what the rows say, in bounded queries."""

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from instances.admin.fleet_page import HOSTS_A_PAGE
from instances.models import Account, Instance
from inventory.card_states import CardState, with_state
from inventory.choices import CardCondition, HostPolicy
from inventory.models import Card, Host
from tests.admin.conftest import browser_of
from tests.admin.test_overview import a_mixed_fleet
from tests.builders import make_card, make_host, make_region

# The page reads one moment, which only a transaction of its own can.
pytestmark = pytest.mark.django_db(transaction=True)


def cells(client: Client, **query: str) -> dict[int, str]:
    """Return what the map says of each card that it shows."""
    page = client.get("/admin/fleet/", query)
    return {
        cell.id: cell.text
        for row in page.context["rows"]
        for node in row["nodes"]
        for cell in node["cells"]
    }


def test_each_card_is_shown_in_the_state_that_the_accounting_counts(
    staff: Client, fleet: Host, employee: Account
) -> None:
    a_mixed_fleet(fleet, employee)

    for region in ("us-east", "ap-west"):
        expected = {
            card.pk: CardState(card.state).label
            for card in with_state(Card.objects.filter(host__region__slug=region))
            if card.state != "gone"
        }
        shown = cells(staff, region=region)
        assert expected.keys() == shown.keys()
        for pk, state in expected.items():
            assert f": {state}" in shown[pk]


def test_owner_is_named_to_those_who_may_see_accounts(
    staff: Client, instance: Instance
) -> None:
    used = Card.objects.get(claims__consumer=instance.uuid)

    assert cells(staff)[used.pk].endswith("used by trial of Lab")
    by_owner = staff.get("/admin/fleet/", {"colour": "owner"})
    assert f'gc-owner-{instance.account_id % 8}" id="card-{used.pk}"' in by_owner.text
    fleet_operator = browser_of("inventory.view_host", "inventory.view_card")
    page = fleet_operator.get("/admin/fleet/", {"colour": "owner"})
    assert page.status_code == 200
    assert "Lab" not in page.text


def test_free_cores_and_memory_are_those_that_a_claim_may_take(
    staff: Client, instance: Instance
) -> None:
    page = staff.get("/admin/fleet/")

    (row,) = page.context["rows"]
    plan = instance.plan
    for node, shown in zip(
        row["host"].nodes.order_by("number"), row["nodes"], strict=True
    ):
        claim = node.claims.filter(consumer=instance.uuid).first()
        cores = node.cpus.filter(is_reserved=False).values("core").distinct().count()
        threads = node.cpus.filter(is_reserved=False).count() // cores
        taken = len(claim.cpus) // threads if claim else 0
        assert shown["cores"] == f"{cores - taken} of {cores}"
        free_mib = node.ordinary_memory_mib - (plan.memory_mib if claim else 0)
        assert shown["memory"].split()[0] == f"{free_mib / 1024:.1f}".removesuffix(".0")


def test_stranded_cards_and_closed_hosts_say_why(staff: Client, fleet: Host) -> None:
    make_host("host-z", policy=HostPolicy.DRAINING)
    # Too few cores for any plan beside the cards.
    make_host("host-s", cards_per_node=(2,), cores_per_node=1)

    page = staff.get("/admin/fleet/")

    rows = {row["host"].name: row for row in page.context["rows"]}
    assert rows["host-z"]["closed"] == "draining"
    (reason,) = rows["host-s"]["nodes"][0]["stranded"]
    assert reason.startswith("2 cards free (1 of them of no use), ")
    assert reason in page.text
    assert not any(node["stranded"] for node in rows["host-a"]["nodes"])


def test_filters_choose_hosts(staff: Client, fleet: Host) -> None:
    other = make_host("other-b", cards_per_node=(1,))
    make_card(other.nodes.get(), "0000:70:00", condition=CardCondition.QUARANTINED)

    def names(**query: str) -> list[str]:
        page = staff.get("/admin/fleet/", query)
        return [row["host"].name for row in page.context["rows"]]

    assert names() == ["host-a", "other-b"]
    assert names(host="OTHER") == ["other-b"]
    assert names(state="broken") == ["other-b"]
    assert names(model="rtx6000", state="free") == ["host-a", "other-b"]
    assert names(state="unknown") == []
    assert "No host is like that" in staff.get("/admin/fleet/?state=unknown").text


@pytest.mark.parametrize("query", ["region=mars", "state=lost", "model=none"])
def test_bad_filter_is_named_and_nothing_is_shown(
    query: str, staff: Client, fleet: Host
) -> None:
    page = staff.get(f"/admin/fleet/?{query}")

    assert query.partition("=")[0] in page.context["form"].errors
    assert "fleet-map" not in page.text


def test_pages_are_bounded_and_queries_constant(
    staff: Client, fleet: Host, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(HOSTS_A_PAGE):
        make_host(cards_per_node=(1,))

    # BEGIN, SET TRANSACTION and COMMIT too.
    with django_assert_max_num_queries(18):
        page = staff.get("/admin/fleet/")

    assert len(page.context["rows"]) == HOSTS_A_PAGE
    assert len(staff.get("/admin/fleet/?page=2").context["rows"]) == 1
    assert "page=2" in page.text


def test_page_needs_both_permissions_and_an_empty_site_says_what_to_do(
    staff: Client, db: None
) -> None:
    assert browser_of("inventory.view_host").get("/admin/fleet/").status_code == 403
    make_region("us-east")
    assert "enrol one" in staff.get("/admin/fleet/").text
