"""The page of what accounts used in a month, and its download as CSV."""

import csv
from collections.abc import Iterable

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from instances.price import Month
from instances.spreadsheet import inert
from instances.usage_report import UsageLine, totals, usage_of
from inventory.ledger import clock
from inventory.replica import read_replica

PERMISSIONS = ("instances.view_usageinterval", "instances.view_account")
COLUMNS = (
    "month",
    "account id",
    "account",
    "instance id",
    "instance",
    "region",
    "plan",
    "GPUs",
    "from (UTC)",
    "to (UTC)",
    "hours",
    "GPU hours",
    "$ billed",
    "$ not billed",
)
_TIME = "%Y-%m-%d %H:%M:%S"


def usage_page(request: HttpRequest) -> HttpResponse:
    """Show the month that the address names (?month=2026-11), or this one.

    With &format=csv: its lines as a file.
    """
    if not request.user.has_perms(PERMISSIONS):
        raise PermissionDenied
    this = Month.of(clock())
    problem = ""
    try:
        month = Month.parse(request.GET.get("month") or str(this))
    except ValueError:
        month, problem = this, _("month: write it like 2026-11.")
    lines = read_replica(lambda: usage_of(month))
    if request.GET.get("format") == "csv" and not problem:
        return _download(month, lines)
    accounts = totals(lines)
    context = {
        **admin.site.each_context(request),
        "title": _("Usage"),
        "month": month,
        "problem": problem,
        "is_running": month == this,
        "accounts": accounts,
        "lines": lines,
        "billed": sum(each.billed for each in accounts),
        "unbilled": sum(each.unbilled for each in accounts),
    }
    return TemplateResponse(
        request, "admin/usage.html", context, status=400 if problem else 200
    )


def _download(month: Month, lines: Iterable[UsageLine]) -> HttpResponse:
    name = f"usage-{month}.csv"
    response = HttpResponse(
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
    writer = csv.writer(response)
    writer.writerow(COLUMNS)
    writer.writerows(map(inert, _cells(month, line)) for line in lines)
    return response


def _cells(month: Month, line: UsageLine) -> tuple[str, ...]:
    instance = line.instance
    return (
        str(month),
        str(instance.account_id),
        instance.account.name,
        str(instance.pk),
        instance.label,
        instance.region.slug,
        line.plan.slug,
        str(line.plan.cards),
        line.starts_at.strftime(_TIME),
        line.ends_at.strftime(_TIME) if line.ends_at else "",
        str(line.charge.hours),
        str(line.card_hours),
        f"{line.billed:.2f}",
        f"{line.unbilled:.2f}",
    )
