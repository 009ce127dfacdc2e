"""The first page: its numbers are rows, and it says what to do when there is nothing."""

import re
from datetime import timedelta

from django.db import transaction
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from gpucloud_site.overview import ROWS_SHOWN
from instances.actions.launch import launch
from instances.models import Account, Instance
from inventory.alerts import Subject, raise_alert
from inventory.choices import (
    AlertClass,
    CardCondition,
    DiscrepancyKind,
    HostConnection,
    HostPolicy,
)
from inventory.ledger import refresh_shape
from inventory.models import Card, CardClaim, Discrepancy, Host
from tests.admin.conftest import browser_of
from tests.builders import make_card, make_gpu_model, make_host, make_order, make_region
from tests.inventory.test_verify_ledger import no_guards


def sums(client: Client) -> dict[str, int]:
    page = client.get("/admin/")
    return {number.name: number.value for number in page.context["sums"]}


def a_mixed_fleet(fleet: Host, employee: Account) -> None:
    """Two regions; a card in each state, and a free one that no plan can reach."""
    launch(make_order(employee, plan="gpu-1"))
    node = fleet.nodes.get(number=0)
    make_card(node, "0000:28:00", condition=CardCondition.DIRTY)
    make_card(node, "0000:29:00", condition=CardCondition.QUARANTINED)
    make_card(node, "0000:2a:00", condition=CardCondition.UNVERIFIED)
    make_card(node, "0000:2b:00", condition=CardCondition.RETIRED)
    far = make_region("ap-west", label="Mumbai, IN", country="in")
    make_host("host-b", region=far, cards_per_node=(1,))
    make_host("host-c", region=far, cards_per_node=(1,), policy=HostPolicy.DRAINING)
    told(fleet.cards.get(slot_path="0000:41:00"), is_blocking=True)
    told(fleet.cards.get(slot_path="0000:42:00"), is_blocking=False)
    silent = make_host(
        "host-e",
        region=far,
        cards_per_node=(3,),
        connection=HostConnection.UNKNOWN,
        last_seen_at=timezone.now() - timedelta(minutes=4),
    )
    make_card(silent.nodes.get(), "0000:2c:00", condition=CardCondition.DIRTY)
    make_card(silent.nodes.get(), "0000:2d:00", condition=CardCondition.MISSING)
    # Its cores are too few for the smallest plan with its model: free, not sellable.
    make_host(
        "host-d",
        region=far,
        cards_per_node=(1,),
        gpu_model=make_gpu_model("l40s", "10de:26b9"),
    )


def told(card: Card, *, is_blocking: bool) -> None:
    now = timezone.now()
    Discrepancy.objects.create(
        host=card.host,
        kind=DiscrepancyKind.NUMA_CHANGED,
        subject=card.slot_path,
        card=card,
        detail="elsewhere",
        prevents_claims=is_blocking,
        first_seen_at=now,
        last_seen_at=now,
    )
    # As reconciliation does, which keeps discrepancies.
    with transaction.atomic():
        refresh_shape(card.host)


def test_share_of_the_cards_time_is_that_of_the_claims(
    staff: Client, fleet: Host, employee: Account
) -> None:
    """Two of four cards are held from almost when they were enrolled."""
    for _ in range(2):
        launch(make_order(employee, plan="gpu-1"))
    now = timezone.now()
    with no_guards():
        # As if all had begun ten hours ago, and the claims five.
        Card.objects.update(enrolled_at=now - timedelta(hours=10))
        CardClaim.objects.update(claimed_at=now - timedelta(hours=5))

    page = staff.get("/admin/")

    assert page.context["held_share"] == 25.0
    assert "25.0 %" in page.text


def test_age_of_what_is_unknown_is_that_of_the_longest_silence(
    staff: Client, fleet: Host
) -> None:
    def meanings() -> list[str]:
        page = staff.get("/admin/")
        rows = [page.context["sums"], *(r.numbers for r in page.context["region_rows"])]
        return [n.meaning for row in rows for n in row if n.name == "unknown"]

    assert meanings() == ["All hosts of free cards answer."] * 2
    now = timezone.now()
    for minutes in (4, 2):
        make_host(
            cards_per_node=(minutes,),
            connection=HostConnection.UNKNOWN,
            last_seen_at=now - timedelta(minutes=minutes, seconds=5),
        )
    # All that is there is used or broken: its silence changes no number.
    make_host(
        cards_per_node=(1,),
        condition=CardCondition.QUARANTINED,
        connection=HostConnection.UNKNOWN,
        last_seen_at=now - timedelta(days=1),
    )

    assert meanings() == ["6 cards unknown for 4 min: their hosts are silent."] * 2
    Host.objects.filter(connection="unknown").update(last_seen_at=None)
    assert meanings()[0].startswith("6 cards unknown for 0 min")


def test_sums_are_what_the_rows_say(
    staff: Client, fleet: Host, employee: Account
) -> None:
    a_mixed_fleet(fleet, employee)

    assert sums(staff) == {
        "total": 15, "used": 1, "free": 5, "sellable": 3, "cleaning": 2, "broken": 3,
        "unknown": 4,
    }  # fmt: skip
    page = staff.get("/admin/")
    for row in page.context["region_rows"]:
        of = {number.name: number.value for number in row.numbers}
        parts = ("used", "free", "cleaning", "broken", "unknown")
        assert of["total"] == sum(of[part] for part in parts)


def test_every_number_equals_the_list_that_it_links_to(
    staff: Client, fleet: Host, employee: Account
) -> None:
    a_mixed_fleet(fleet, employee)

    page = staff.get("/admin/")
    numbers = [
        *page.context["sums"],
        *(number for row in page.context["region_rows"] for number in row.numbers),
    ]

    assert len(numbers) == 21
    for number in numbers:
        listed = staff.get(number.url).context["cl"].result_count
        assert (number.url, listed) == (number.url, number.value)


def test_list_of_the_sellable_names_the_cards_that_launches_take(
    staff: Client, fleet: Host, employee: Account
) -> None:
    # Cores for one of two cards; a host with room for all; none.
    strait = make_host("host-s", cards_per_node=(2,), cores_per_node=1)
    make_host("host-o", cards_per_node=(1,), policy=HostPolicy.DRAINING)

    listed = set(
        staff.get("/admin/inventory/card/?state=sellable").context["cl"].queryset
    )

    assert len(listed & set(strait.cards.all())) == 1
    assert len(listed) == 5 == sums(staff)["sellable"]
    for _ in range(5):
        instance = launch(make_order(employee, plan="gpu-1"))
        (card,) = Card.objects.filter(claims__consumer=instance.uuid)
        listed.remove(card)


def test_sums_are_the_regions_together(
    staff: Client, fleet: Host, employee: Account
) -> None:
    a_mixed_fleet(fleet, employee)

    page = staff.get("/admin/")

    for index, number in enumerate(page.context["sums"]):
        rows = page.context["region_rows"]
        assert number.value == sum(row.numbers[index].value for row in rows)


def test_sellable_of_a_plan_leads_to_its_launch(staff: Client, fleet: Host) -> None:
    page = staff.get("/admin/")
    fits = {row.plan.slug: row.fits[0] for row in page.context["plan_rows"]}

    assert {slug: number.value for slug, number in fits.items()} == {
        "gpu-1": 4,
        "gpu-2": 2,
    }
    form = staff.get(fits["gpu-2"].url).context["form"]
    assert (form["plan"].value(), form["region"].value()) == ("gpu-2", "us-east")


def test_open_jobs_and_silent_hosts_are_shown(
    staff: Client, instance: Instance
) -> None:
    make_host("host-x", connection=HostConnection.UNKNOWN)
    make_host("host-y", connection=HostConnection.STALE, policy=HostPolicy.RETIRED)

    page = staff.get("/admin/")

    assert [job.instance for job in page.context["jobs"]] == [instance]
    assert [host.name for host in page.context["silent_hosts"]] == ["host-x"]


def test_empty_installation_says_what_to_do(staff: Client) -> None:
    text = staff.get("/admin/").content.decode()

    assert "No GPU host yet" in text
    assert "manage.py enrol_host" in text
    assert "No region yet" in text
    assert "No plan is sold" in text


def test_launch_button_has_its_name(staff: Client, fleet: Host) -> None:
    text = staff.get("/admin/").content.decode()

    (link,) = re.findall(r'<a [^>]*aria-label="Launch an instance"[^>]*>', text)
    assert 'href="/admin/launch/"' in link


def test_person_without_permissions_sees_no_numbers(fleet: Host) -> None:
    page = browser_of().get("/admin/")
    text = page.content.decode()

    assert page.status_code == 200
    assert "You may not see the fleet" in text
    assert 'id="to-reports"' not in text
    assert "Launch an instance" not in text
    assert "cards-total" not in text


def test_who_reads_reports_alone_is_led_to_them(db: None) -> None:
    text = browser_of("instances.view_reports").get("/admin/").text

    assert '<a class="gc-link" href="/admin/reports/">reports</a>' in text
    assert "You may not see the fleet" not in text
    assert "cards-total" not in text


def test_fifteen_queries_whatever_there_is(
    staff: Client,
    full_house: Instance,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(ROWS_SHOWN + 2):
        host = make_host(
            region=make_region(f"region-{number}"), connection=HostConnection.UNKNOWN
        )
        subject = Subject(host=host)
        raise_alert(subject, AlertClass.WARNING, "test", "hot", "It is hot.")
    for _ in range(3):
        launch(make_order(full_house.account, plan="gpu-1"))

    with django_assert_max_num_queries(15):
        page = staff.get("/admin/")

    assert len(page.context["silent_hosts"]) == ROWS_SHOWN
    assert page.context["silent_total"] == ROWS_SHOWN + 2
    assert page.context["alert_total"] == ROWS_SHOWN + 3
    assert page.context["job_total"] == len(page.context["jobs"]) == 4
