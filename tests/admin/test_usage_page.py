"""The usage page: who may see it, its sums, and a download that no spreadsheet computes."""

import csv
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.test import Client

from instances.admin.usage_page import COLUMNS, PERMISSIONS
from instances.models import Account, Instance, UsageInterval
from tests.admin.conftest import browser_of

pytestmark = pytest.mark.django_db
BEGIN = datetime(2026, 3, 30, 12, tzinfo=UTC)


@pytest.fixture
def used(instance: Instance) -> Instance:
    """Give an instance that ran from 30 March to 2 April and was not billed at first."""
    Account.objects.update(name='=HYPERLINK("x")')
    middle, end = BEGIN + timedelta(hours=10), BEGIN + timedelta(days=3, minutes=1)
    for begin, to, is_billed in ((BEGIN, middle, False), (middle, end, True)):
        UsageInterval.objects.create(
            instance=instance,
            plan=instance.plan,
            starts_at=begin,
            ends_at=to,
            price_hourly=Decimal("1.5"),
            price_monthly=Decimal(1000),
            is_billed=is_billed,
        )
    return instance


def test_month_shows_its_sums_by_account_and_instance(
    staff: Client, used: Instance
) -> None:
    page = staff.get("/admin/usage/", {"month": "2026-03"})

    (row,) = page.context["accounts"]
    assert (row.instances, row.hours, row.card_hours) == (1, 36, 36)
    assert (row.billed, row.unbilled) == (Decimal("39.00"), Decimal("15.00"))
    assert "15.00 (not billed)" in page.text
    assert "2026-03-30 12:00:00" in page.text
    assert "2026-04-01 00:00:00" in page.text


def test_download_has_units_and_inert_cells(staff: Client, used: Instance) -> None:
    response = staff.get("/admin/usage/", {"month": "2026-04", "format": "csv"})

    assert response["Content-Type"].startswith("text/csv")
    assert response["Content-Disposition"] == 'attachment; filename="usage-2026-04.csv"'
    (row,) = csv.DictReader(StringIO(response.text, newline=""))
    assert tuple(row) == COLUMNS
    assert row == {
        "month": "2026-04",
        "account id": str(used.account_id),
        "account": '\'=HYPERLINK("x")',
        "instance id": str(used.pk),
        "instance": "trial",
        "region": "us-east",
        "plan": "gpu-1",
        "GPUs": "1",
        "from (UTC)": "2026-04-01 00:00:00",
        "to (UTC)": "2026-04-02 12:01:00",
        "hours": "37",
        "GPU hours": "37",
        "$ billed": "55.50",
        "$ not billed": "0.00",
    }


def test_month_without_usage_says_so(staff: Client, used: Instance) -> None:
    page = staff.get("/admin/usage/")
    assert page.context["accounts"] == []
    assert "Nothing ran in this month." in page.text


@pytest.mark.parametrize("layout", ["", "csv"])
def test_what_is_no_month_is_refused(
    layout: str, staff: Client, used: Instance
) -> None:
    page = staff.get("/admin/usage/", {"month": "March", "format": layout})
    assert page.status_code == 400
    assert "month: write it like 2026-11." in page.text


def test_page_needs_its_permissions(used: Instance) -> None:
    assert browser_of().get("/admin/usage/").status_code == 403
    assert browser_of(PERMISSIONS[0]).get("/admin/usage/").status_code == 403
    browser = browser_of(*PERMISSIONS)
    assert browser.get("/admin/usage/").status_code == 200
    assert 'href="/admin/usage/"' in browser.get("/admin/").text
