"""The page that opens a flag for everyone, or takes that back: what it would sell first."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from flags import launches
from flags.changes import Why
from flags.exceptions import ChangeRefused
from flags.models import Flag, FlagChange, FlagProposal
from flags.models.change import OPEN_STATES
from instances.admin.flag_changes import FlagReasonForm, PlannedForm, outcome
from instances.launch_notices import count_askers
from instances.launch_offer import counted, offers_behind, stranded_in_regions
from instances.reports.readiness import readiness_of, since_then
from inventory.admin.dialogs import staff_actor

PERMISSION = "flags.change_flag"


def flag_launch_page(request: HttpRequest, flag_id: int) -> HttpResponse:
    """Show what a launch would open; on POST launch, or take the launch back."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    flag = get_object_or_404(Flag, pk=flag_id)
    if request.method != "POST":
        return _show(
            request, flag, FlagReasonForm() if flag.everyone else PlannedForm()
        )
    is_launch = "launch" in request.POST
    form = (PlannedForm if is_launch else FlagReasonForm)(request.POST)
    if not form.is_valid():
        return _show(request, flag, form)
    why = Why(staff_actor(request), form.cleaned_data["reason"])
    try:
        done = (
            _launch(flag, why, form.cleaned_data["due_at"])
            if is_launch
            else launches.take_launch_back(flag.pk, why)
        )
    except ChangeRefused as error:
        messages.error(request, str(error))
        return redirect(request.path)
    LogEntry.objects.log_actions(
        request.user.pk or 0, [flag], CHANGE, why.reason, single_object=True
    )
    messages.success(request, outcome(done))
    return redirect("admin:flags_flag_change", flag.pk)


def _launch(flag: Flag, why: Why, due_at: Any) -> FlagChange | FlagProposal:
    return launches.launch(flag.pk, why, _not_green(flag), due_at)


def _not_green(flag: Flag) -> list[str]:
    """Return the names of the lines that are not green now, since the decision's days."""
    return readiness_of(flag, since_then(flag, flag.decisions.first())).not_green


def _show(request: HttpRequest, flag: Flag, form: FlagReasonForm) -> HttpResponse:
    offers = offers_behind(flag.name)
    context = {
        **admin.site.each_context(request),
        "title": _("Launch of %s") % flag,
        "flag": flag,
        "form": form,
        "rows": counted(offers),
        "stranded": stranded_in_regions(offers),
        "askers": 0 if flag.everyone else count_askers(flag),
        "decision": flag.decisions.first(),
        "obstacle": _obstacle(flag),
        "planned": flag.proposals.filter(state__in=OPEN_STATES),
    }
    return TemplateResponse(request, "admin/flag_launch.html", context)


def _obstacle(flag: Flag) -> str:
    """Return why a launch would be refused now; empty if it would not."""
    if flag.everyone:
        return ""
    try:
        launches.check_go(flag, _not_green(flag))
    except ChangeRefused as error:
        return str(error)
    return ""
