"""The reports' pages: a table with a chart, as CSV and XLSX, at an address that stays."""

import csv
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from instances import report_mail
from instances.models import ReportMail
from instances.reports.catalogue import REPORTS, Report
from instances.reports.table import Asked, Column, Table, shown
from instances.spreadsheet import inert
from inventory.ledger import clock
from inventory.models import Region

PERMISSION = "instances.view_reports"
DEFAULT_DAYS = 30
MOST_DAYS = 3660
# Excel opens no longer one.
_LONGEST_SHEET_NAME = 31
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def _input(kind: str) -> UnfoldAdminTextInputWidget:
    return UnfoldAdminTextInputWidget(attrs={"type": kind})


class ReportForm(forms.Form):
    """What a report is to tell of; the fields that it does not heed are left out."""

    region = forms.ModelChoiceField(
        Region.objects.all(),
        to_field_name="slug",
        required=False,
        empty_label=gettext_lazy("all"),
        widget=UnfoldAdminSelectWidget(),
        label=gettext_lazy("Region"),
    )
    since = forms.DateField(
        required=False, label=gettext_lazy("From (UTC)"), widget=_input("date")
    )
    until = forms.DateField(
        required=False, label=gettext_lazy("To (UTC)"), widget=_input("date")
    )
    moment = forms.DateTimeField(
        required=False,
        label=gettext_lazy("As of (UTC)"),
        widget=_input("datetime-local"),
        help_text=gettext_lazy("Empty: now."),
    )

    def __init__(self, report: Report, data: dict[str, str]) -> None:
        super().__init__(data)
        left_out = {"days": ["moment"], "moment": ["since", "until"]}
        for name in left_out.get(report.asks, ["since", "until", "moment"]):
            del self.fields[name]

    def clean(self) -> None:
        since, until = self.cleaned_data.get("since"), self.cleaned_data.get("until")
        if since and until and since > until:
            self.add_error("until", _("Must not be before From."))
        elif since and until and (until - since).days >= MOST_DAYS:
            self.add_error(
                "since",
                _("Ask for %(days)s days at most.") % {"days": MOST_DAYS},
            )
        moment = self.cleaned_data.get("moment")
        if moment and moment > clock():
            self.add_error("moment", _("Lies in the future."))

    def asked(self) -> Asked:
        """Return what valid data ask for."""
        data = self.cleaned_data
        until = data.get("until") or clock().date()
        since = data.get("since") or until - timedelta(days=DEFAULT_DAYS - 1)
        region = data["region"].slug if data.get("region") else ""
        return Asked(since, until, region, data.get("moment"))


def report_index(request: HttpRequest) -> HttpResponse:
    """List the reports."""
    _check(request)
    context = {
        **admin.site.each_context(request),
        "title": _("Reports"),
        "reports": list(REPORTS.values()),
        "mailed_to": settings.REPORT_MAIL_TO if report_mail.is_wanted() else [],
        "mail": ReportMail.objects.first(),
    }
    return TemplateResponse(request, "admin/reports.html", context)


def report_page(request: HttpRequest, name: str) -> HttpResponse:
    """Show one report; with &format=csv or xlsx its rows as a file."""
    _check(request)
    report = REPORTS.get(name)
    if report is None:
        raise Http404(f"There is no report {name}.")
    form = ReportForm(report, request.GET.dict())
    table = report.table(form.asked()) if form.is_valid() else None
    layout = request.GET.get("format", "")
    if table is not None and layout in FILES:
        return FILES[layout](report, table)
    query = {k: v for k, v in request.GET.items() if k != "format" and v}
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": report.title,
        "report": report,
        "form": form,
        "table": table,
        "rows": _shown(table) if table else [],
        "query": urlencode(query),
        "as_of": clock(),
    }
    status = 200 if table is not None else 400
    return TemplateResponse(request, "admin/report.html", context, status=status)


def _check(request: HttpRequest) -> None:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied


def _shown(table: Table) -> list[dict[str, Any]]:
    """Return the rows as the page shows them, with the length of each one's bar in %."""
    values = [
        float(row[table.chart] or 0)  # type: ignore[arg-type]
        for row in table.rows
        if table.chart is not None
    ]
    # A share of something is drawn to its whole, all else to the greatest.
    whole = max([*values, 100.0 if _is_share(table) else 0.0], default=0.0)
    bars = [round(100 * value / whole, 1) if whole else 0 for value in values]
    return [
        {
            "cells": list(zip(table.columns, map(shown, row), strict=True)),
            "bar": bars[place] if bars else None,
        }
        for place, row in enumerate(table.rows)
    ]


def _is_share(table: Table) -> bool:
    return table.chart is not None and table.columns[table.chart].is_share


def _csv(report: Report, table: Table) -> HttpResponse:
    response = _file(report, "csv", "text/csv; charset=utf-8")
    writer = csv.writer(response)
    writer.writerow([column.heading for column in table.columns])
    for row in table.rows:
        writer.writerow(
            [
                inert(cell) if isinstance(cell, str) else "" if cell is None else cell
                for cell in row
            ]
        )
    return response


def _xlsx(report: Report, table: Table) -> HttpResponse:
    book = Workbook(write_only=True)
    sheet = book.create_sheet(report.title[:_LONGEST_SHEET_NAME])

    def cell_of(value: Any) -> Any:
        if isinstance(value, datetime):
            value = value.astimezone(UTC).replace(tzinfo=None)
        cell = WriteOnlyCell(sheet, value)
        if isinstance(value, str):
            # Also what begins with "=" is text.
            cell.data_type = "s"
        return cell

    def heading_of(column: Column) -> Any:
        cell = cell_of(column.heading)
        cell.font = Font(bold=True)
        return cell

    sheet.append([heading_of(column) for column in table.columns])
    for row in table.rows:
        sheet.append([cell_of(value) for value in row])
    content = BytesIO()
    book.save(content)
    response = _file(report, "xlsx", _XLSX)
    response.write(content.getvalue())
    return response


def _file(report: Report, ending: str, content_type: str) -> HttpResponse:
    name = f"{report.name}-{clock():%Y-%m-%d}.{ending}"
    return HttpResponse(
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


FILES = {"csv": _csv, "xlsx": _xlsx}
