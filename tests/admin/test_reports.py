"""Reports: their numbers are those of the rows, in page, CSV and spreadsheet alike."""

import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO, StringIO
from typing import Any

import pytest
from django.test import Client
from openpyxl import load_workbook
from pytest_django import DjangoAssertNumQueries

from instances.actions.launch import launch
from instances.actions.reserve import ReservationOrder, reserve
from instances.exceptions import InvalidRequest, NoCapacity, QuotaExceeded
from instances.models import (
    Account,
    GpuQuota,
    Instance,
    Plan,
    RefusedDemand,
    UsageInterval,
)
from instances.reports import fleet as fleet_reports
from instances.reports.catalogue import REPORTS
from inventory.host_state import note_unreachable
from inventory.ledger import clock
from inventory.models import Host, Region
from tests.admin.conftest import browser_of
from tests.admin.test_overview import a_mixed_fleet
from tests.builders import make_account, make_gpu_model, make_host, make_order

pytestmark = pytest.mark.django_db


@pytest.fixture
def manager() -> Client:
    """Give the browser of a person who may read reports and nothing else."""
    return browser_of("instances.view_reports")


def rows(client: Client, name: str, **query: str) -> list[dict[str, str]]:
    """Return the rows of the report as CSV."""
    answer = client.get(f"/admin/reports/{name}/", {**query, "format": "csv"})
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(StringIO(answer.text, newline="")))


def test_manager_reads_reports_and_nothing_else(
    manager: Client, full_house: Instance
) -> None:
    assert manager.get("/admin/reports/").status_code == 200
    for name in REPORTS:
        assert manager.get(f"/admin/reports/{name}/").status_code == 200, name
    for path in ("usage/", "capacity/", "fleet/", "launch/", "inventory/card/"):
        assert manager.get(f"/admin/{path}").status_code == 403, path
    assert browser_of("inventory.view_card").get("/admin/reports/").status_code == 403
    assert manager.get("/admin/reports/weather/").status_code == 404


@pytest.mark.parametrize("name", REPORTS)
def test_queries_do_not_grow_with_the_fleet(
    name: str,
    manager: Client,
    full_house: Instance,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for _ in range(5):
        make_host()
    with django_assert_max_num_queries(24):
        manager.get(f"/admin/reports/{name}/", {"region": "us-east"})


def test_page_and_files_have_the_same_cells(
    manager: Client, full_house: Instance
) -> None:
    page = manager.get("/admin/reports/inventory/")
    book = load_workbook(
        BytesIO(manager.get("/admin/reports/inventory/?format=xlsx").content)
    )

    (told,) = rows(manager, "inventory")
    lines = list(book.active.iter_rows(values_only=True))
    assert [str(cell) for cell in lines[0]] == list(told)
    assert [str(cell) for cell in lines[1]] == list(told.values())
    shown = [text for _, text in page.context["rows"][0]["cells"]]
    assert shown == list(told.values())
    assert told["Used"] == "1"


def test_nothing_that_a_customer_names_is_a_formula(
    manager: Client, staff: Client, fleet: Host
) -> None:
    Plan.objects.filter(slug="gpu-1").update(slug="=1+1")
    Host.objects.update(name="=2+2")
    Plan.objects.filter(slug="gpu-2").update(is_sold=False)
    Plan.objects.filter(slug="=1+1").update(vcpus=1000)

    (row,) = {each["Host"] for each in rows(manager, "fragmentation")}
    answer = manager.get("/admin/reports/fragmentation/?format=xlsx")

    assert row == "'=2+2"
    cell = load_workbook(BytesIO(answer.content)).active["B2"]
    assert (cell.value, cell.data_type) == ("=2+2", "s")


def test_inventory_is_that_of_the_moment(
    manager: Client, fleet: Host, employee: Account
) -> None:
    before = clock()
    a_mixed_fleet(fleet, employee)

    now = rows(manager, "inventory")
    then = rows(manager, "inventory", moment=f"{before:%Y-%m-%dT%H:%M:%S.%f}")

    assert [row["Cards"] for row in then] == ["4"]
    assert [row["Used"] for row in then] == ["0"]
    (mine,) = (row for row in now if row["Region"] == "us-east")
    # Those of the host, one that is dirty, one unverified, one quarantined.
    assert (mine["Cards"], mine["Used"], mine["In cleaning"]) == ("7", "1", "2")
    assert (mine["Ready, unused"], mine["Broken or missing"]) == ("3", "1")


def test_inventory_of_an_outage_says_that_cards_were_unknown(
    manager: Client, fleet: Host, employee: Account
) -> None:
    a_mixed_fleet(fleet, employee)
    note_unreachable(fleet.pk, "no route")
    during = clock()
    Host.objects.filter(pk=fleet.pk).update(connection="ok")

    then = rows(manager, "inventory", moment=f"{during:%Y-%m-%dT%H:%M:%S.%f}")
    now = rows(manager, "inventory")

    columns = ("Cards", "Used", "Ready, unused", "Broken or missing", "Unknown")
    shown = [
        tuple(row[c] for c in columns)
        for row in (*then, *now)
        if row["Region"] == "us-east"
    ]
    assert shown == [("7", "1", "0", "1", "5"), ("7", "1", "3", "1", "0")]


@pytest.fixture
def days_later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], datetime]:
    """Have it be the day after tomorrow for the report of what was sold."""
    moment = clock() + timedelta(days=2)
    monkeypatch.setattr(fleet_reports, "clock", lambda: moment)
    return lambda: moment


def test_sold_tells_customers_employees_and_reservations_apart(
    manager: Client,
    fleet: Host,
    employee: Account,
    days_later: Callable[[], datetime],
) -> None:
    launch(make_order(employee, plan="gpu-1"))
    Plan.objects.filter(slug="gpu-1").update(flag_name="")
    customer = make_account()
    launch(make_order(customer, plan="gpu-1"))
    reserve(
        ReservationOrder(
            account=customer,
            plan="gpu-1",
            region="us-east",
            expires_at=clock() + timedelta(hours=1),
            actor="user:tester",
        )
    )
    whole_day = (days_later() - timedelta(days=1)).date()

    found = rows(
        manager,
        "sold",
        since=str(whole_day - timedelta(days=2)),
        until=str(whole_day),
    )

    # Before today there was no card: those days are left out.
    today, tomorrow = found
    assert today["Day (UTC)"] == str(whole_day - timedelta(days=1))
    assert list(tomorrow.values()) == [
        *(str(whole_day), "4.0", "1.0", "1.0", "1.0", "75.0"),
    ]


def test_use_is_cut_to_the_days_and_split_by_segment(
    manager: Client, instance: Instance
) -> None:
    begin = datetime(2026, 3, 30, 12, tzinfo=UTC)
    for since, until, is_billed in (
        (begin, begin + timedelta(hours=30), False),
        (begin + timedelta(hours=30), begin + timedelta(hours=40), True),
    ):
        UsageInterval.objects.create(
            instance=instance,
            plan=instance.plan,
            starts_at=since,
            ends_at=until,
            price_hourly=Decimal(1),
            price_monthly=Decimal(1000),
            is_billed=is_billed,
        )

    found = rows(manager, "utilisation", since="2026-03-31", until="2026-03-31")

    assert [(row["Whose"], row["GPU hours"]) for row in found] == [
        ("customers", "6.0"),
        ("employees", "18.0"),
    ]
    assert found[0]["Of all GPU hours, %"] == "25.0"


def test_launches_count_their_ends_and_times(
    manager: Client, instance: Instance
) -> None:
    at = clock() - timedelta(hours=5)
    defaults: dict[str, Any] = {
        "account": instance.account,
        "plan": instance.plan,
        "region": instance.region,
        "image": instance.image,
        "created_by": "user:tester",
    }
    for number, took in enumerate((10, 20, 30)):
        made = Instance.objects.create(label=f"ready-{number}", **defaults)
        Instance.objects.filter(pk=made.pk).update(
            created_at=at, ready_at=at + timedelta(seconds=took)
        )
    Instance.objects.create(label="failed", phase="failed", ended_at=at, **defaults)
    Instance.objects.create(label="gone", phase="deleted", ended_at=at, **defaults)

    (row,) = rows(manager, "launches")

    ends = [
        row[name] for name in ("Begun", "Ready", "Failed", "Cancelled", "Under way")
    ]
    assert ends == ["6", "3", "1", "1", "1"]
    assert row["Success, %"] == "75.0"
    assert row["Time to ready, p50, s"] == "20.0"
    assert row["Time to ready, p95, s"] == "29.0"


def test_refusals_are_noted_once_and_nothing_else_is(
    manager: Client, fleet: Host, employee: Account
) -> None:
    GpuQuota.objects.create(gpu_model=make_gpu_model(), cards=3)
    until = clock() + timedelta(hours=1)
    launch(make_order(employee, plan="gpu-2"))
    with pytest.raises(QuotaExceeded):
        launch(make_order(employee, plan="gpu-2"))
    GpuQuota.objects.update(cards=100)
    Host.objects.update(policy="draining")
    order = ReservationOrder(employee, "gpu-1", "us-east", until, "user:tester")
    for _ in range(2):
        with pytest.raises(NoCapacity):
            reserve(order)
    with pytest.raises(InvalidRequest):
        launch(make_order(employee, plan="no-such-plan"))

    found = rows(manager, "refusals")

    assert [(r["Plan"], r["Why"], r["Times"], r["Accounts"]) for r in found] == [
        ("gpu-1", "no capacity", "2", "1"),
        ("gpu-2", "account's quota", "1", "1"),
    ]
    assert {row["Whose"] for row in found} == {"employees"}
    assert RefusedDemand.objects.count() == 3


def test_forecast_goes_on_at_the_pace_of_the_last_weeks(
    manager: Client, fleet: Host, employee: Account
) -> None:
    launch(make_order(employee, plan="gpu-2"))

    of_plan = {row["Plan"]: row for row in rows(manager, "forecast")}

    # Two cards in four weeks: the two that are left last four weeks more.
    assert of_plan["gpu-1"]["Fit now"] == "2"
    assert of_plan["gpu-1"]["Cards more a day"] == "0.07"
    expected = (clock() + timedelta(days=28)).date()
    assert of_plan["gpu-1"]["Sold out on"] == str(expected)
    launch(make_order(employee, plan="gpu-2"))
    (sold_out, _) = rows(manager, "forecast")
    assert sold_out["Sold out on"] == str(clock().date())


@pytest.mark.parametrize(
    ("name", "query", "field"),
    [
        ("sold", {"since": "2026-02-30"}, "since"),
        ("sold", {"since": "2026-03-02", "until": "2026-03-01"}, "until"),
        ("sold", {"since": "1990-01-01", "until": "2026-03-01"}, "since"),
        ("inventory", {"moment": "2999-01-01T00:00"}, "moment"),
        ("forecast", {"region": "mars"}, "region"),
    ],
)
def test_bad_question_is_named(
    name: str, query: dict[str, str], field: str, manager: Client, fleet: Host
) -> None:
    page = manager.get(f"/admin/reports/{name}/", {**query, "format": "csv"})

    assert page.status_code == 400
    assert field in page.context["form"].errors


def test_region_leaves_the_others_out(
    manager: Client, fleet: Host, employee: Account
) -> None:
    a_mixed_fleet(fleet, employee)
    assert Region.objects.count() == 2

    assert {row["Region"] for row in rows(manager, "inventory", region="ap-west")} == {
        "ap-west"
    }
    launched = rows(manager, "launches", region="ap-west")
    assert launched == []
