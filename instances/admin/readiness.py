"""The readiness pages: a flag's report, the rows behind each line, and the decision on it."""

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Subquery
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from flags import launches
from flags.exceptions import ChangeRefused
from flags.models import Flag, LaunchDecision, ReadinessLine, Verdict
from instances.admin.reports import FILES, PERMISSION, ReportForm
from instances.reports.catalogue import Report
from instances.reports.readiness import Readiness, asked_of, readiness_of
from instances.reports.readiness_rows import Behind, behind_line
from instances.reports.table import Asked, Table, number, shown, text
from inventory.admin.dialogs import staff_actor

DECIDE = "flags.add_launchdecision"
ROWS_SHOWN = 500
DECISIONS_SHOWN = 10


class DecisionForm(forms.Form):
    """seen: the lines' states when the page was shown."""

    verdict = forms.ChoiceField(
        label=gettext_lazy("Decision"),
        choices=Verdict.choices,
        initial=Verdict.NO_GO,
        widget=UnfoldAdminSelectWidget(),
    )
    remark = forms.CharField(
        label=gettext_lazy("Remark"),
        max_length=1000,
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy(
            "Kept for ever. A go needs one while a line is not green."
        ),
    )
    seen = forms.CharField(widget=forms.HiddenInput())


def readiness_index(request: HttpRequest) -> HttpResponse:
    """List the flags, each with the latest decision on it."""
    _check(request)
    latest = LaunchDecision.objects.filter(flag=OuterRef("pk")).order_by("-pk")
    flags = Flag.objects.annotate(
        verdict=Subquery(latest.values("verdict")[:1]),
        decided_at=Subquery(latest.values("at")[:1]),
    )
    context = {
        **admin.site.each_context(request),
        "title": _("Readiness"),
        "flags": [(flag, _word(flag.verdict)) for flag in flags],
    }
    return TemplateResponse(request, "admin/readiness_index.html", context)


def _word(verdict: str | None) -> str:
    return str(Verdict(verdict).label) if verdict else ""


def readiness_page(request: HttpRequest, flag_id: int) -> HttpResponse:
    """Show a flag's report, with &format=csv or xlsx as a file; on POST decide on it."""
    _check(request)
    flag = get_object_or_404(Flag, pk=flag_id)
    window = _window(request, flag)
    if not window.is_valid():
        return _page(request, flag, window, None, 400)
    report = readiness_of(flag, _asked(window, flag))
    if request.method == "POST":
        return _decide(request, flag, report)
    layout = request.GET.get("format", "")
    if layout in FILES:
        about = _report(f"readiness-{flag.pk}", report.flag)
        return FILES[layout](about, _as_table(report))
    return _page(request, flag, window, report)


def _decide(request: HttpRequest, flag: Flag, report: Readiness) -> HttpResponse:
    """Record the decision on the report of now, if it says what the person has seen."""
    if not request.user.has_perm(DECIDE):
        raise PermissionDenied
    here = redirect(f"{request.path}?{request.GET.urlencode()}")
    form = DecisionForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Nothing was recorded: choose go or no-go."))
        return here
    if form.cleaned_data["seen"] != report.seen:
        messages.error(
            request, _("Nothing was recorded: a line has changed. Look again.")
        )
        return here
    verdict = Verdict(form.cleaned_data["verdict"])
    remark = form.cleaned_data["remark"]
    try:
        launches.decide(
            flag.pk, verdict, remark, staff_actor(request), report.as_json()
        )
    except ChangeRefused as error:
        messages.error(request, str(error))
        return here
    messages.success(request, _("Recorded: %s.") % verdict.label)
    return here


def _page(
    request: HttpRequest,
    flag: Flag,
    window: ReportForm,
    report: Readiness | None,
    status: int = 200,
) -> HttpResponse:
    may = request.user.has_perm
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": _("Readiness of %s") % flag,
        "flag": flag,
        "window": window,
        "report": report,
        "query": _query(request),
        "decisions": flag.decisions.all()[:DECISIONS_SHOWN],
        "may_launch": may("flags.change_flag"),
    }
    if report is not None and may(DECIDE):
        context["decision"] = DecisionForm(initial={"seen": report.seen})
    return TemplateResponse(request, "admin/readiness.html", context, status=status)


def readiness_rows(request: HttpRequest, flag_id: int, name: str) -> HttpResponse:
    """Show the rows behind one line; with &format=csv or xlsx all of them as a file."""
    _check(request)
    flag = get_object_or_404(Flag, pk=flag_id)
    window = _window(request, flag)
    if name not in ReadinessLine.values or not window.is_valid():
        raise Http404
    line, asked = ReadinessLine(name), _asked(window, flag)
    layout = request.GET.get("format", "")
    if layout in FILES:
        about = _report(f"{name}-{flag.pk}", str(line.label))
        return FILES[layout](about, behind_line(line, asked).table)
    behind = behind_line(line, asked, ROWS_SHOWN)
    context = {
        **admin.site.each_context(request),
        "title": f"{flag}: {line.label}",
        "flag": flag,
        "asked": asked,
        "query": _query(request),
        "columns": behind.table.columns,
        "rows": _linked(request, behind),
        "total": behind.total,
    }
    return TemplateResponse(request, "admin/readiness_rows.html", context)


def _linked(request: HttpRequest, behind: Behind) -> list[tuple[str, Any]]:
    """Return each row's page, empty for whoever may not see it, and its cells."""
    app, model = behind.model.split(".")
    may_see = request.user.has_perm(f"{app}.view_{model}")
    page = f"admin:{app}_{model}_change"
    return [
        (
            reverse(page, args=[key]) if may_see else "",
            list(zip(behind.table.columns, map(shown, row), strict=True)),
        )
        for key, row in zip(behind.keys, behind.table.rows, strict=True)
    ]


def _check(request: HttpRequest) -> None:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied


def _window(request: HttpRequest, flag: Flag) -> ReportForm:
    """Return the form of which days; those of asked_of() unless the address says."""
    asked = asked_of(flag)
    given = {"since": asked.since.isoformat(), "until": asked.until.isoformat()}
    given |= {key: request.GET[key] for key in given if request.GET.get(key)}
    form = ReportForm(_report("readiness", ""), given)
    del form.fields["region"]
    return form


def _asked(window: ReportForm, flag: Flag) -> Asked:
    return replace(window.asked(), flag=flag.name)


def _query(request: HttpRequest) -> str:
    days = {key: request.GET.get(key) for key in ("since", "until")}
    return urlencode({key: day for key, day in days.items() if day})


def _report(name: str, title: str) -> Report:
    return Report(name, title, "", "days", lambda _: Table((), []))


def _as_table(report: Readiness) -> Table:
    return Table(
        columns=(
            text(_("Line")),
            number(_("Value")),
            number(_("Of")),
            number(_("At least")),
            number(_("At most")),
            text(_("Status")),
        ),
        rows=[
            (
                *(line.title, line.value, line.of),
                line.bound if line.is_least else None,
                None if line.is_least else line.bound,
                line.status,
            )
            for line in report.lines
        ],
    )
