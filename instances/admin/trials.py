"""Staff pages of trials: who may use what without paying; to grant, and to cut short."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectMultipleWidget,
    UnfoldAdminSelectWidget,
)

from instances.actions.trials import Grant, cut_short, grant
from instances.choices import AfterTrial
from instances.exceptions import InstancesError
from instances.models import Account, Instance, Plan, Trial
from instances.trials import cards_held, used_of
from inventory.admin.dialogs import (
    ReasonForm,
    leave_dialog,
    object_or_404,
    staff_actor,
)
from inventory.admin.read_only import ReadOnlyAdmin, ReadOnlyInline
from inventory.ledger import clock

_LONGEST_DAYS = 366


def _whole(initial: int, most: int, **more: Any) -> forms.IntegerField:
    return forms.IntegerField(
        min_value=1,
        max_value=most,
        initial=initial,
        widget=UnfoldAdminIntegerFieldWidget(),
        **more,
    )


class GrantForm(ReasonForm):
    plans = forms.ModelMultipleChoiceField(
        Plan.objects.filter(is_sold=True, cards__gt=0),
        widget=UnfoldAdminSelectMultipleWidget(),
        help_text=gettext_lazy("A flag that is shut for the account stays shut."),
    )
    days = _whole(7, _LONGEST_DAYS)
    cards = _whole(1, 1000, label=gettext_lazy("cards at once"))
    card_hours = _whole(168, 1_000_000, label=gettext_lazy("card hours in all"))
    at_end = forms.ChoiceField(
        label=gettext_lazy("at its end"),
        choices=AfterTrial,
        widget=UnfoldAdminSelectWidget(),
        help_text=gettext_lazy("Of the instances that are there then."),
    )
    grace_hours = forms.IntegerField(
        label=gettext_lazy("hours until deletion"),
        min_value=0,
        max_value=24 * 30,
        initial=24,
        widget=UnfoldAdminIntegerFieldWidget(),
    )


class CutForm(ReasonForm):
    at_end = forms.ChoiceField(
        label=gettext_lazy("its instances"),
        choices=[("", gettext_lazy("as it was granted")), *AfterTrial.choices],
        required=False,
        widget=UnfoldAdminSelectWidget(),
        help_text=gettext_lazy(
            "Billed from now on: for who stays on as an ordinary customer."
        ),
    )


def grant_to(request: HttpRequest, form: GrantForm, account: Account) -> HttpResponse:
    """Grant what the dialog asks for; why it is refused is told on the account's page."""
    data = form.cleaned_data
    order = Grant(
        account=account,
        plans=tuple(data["plans"]),
        cards=data["cards"],
        card_hours=data["card_hours"],
        days=data["days"],
        at_end=AfterTrial(data["at_end"]),
        grace_hours=data["grace_hours"],
        by=staff_actor(request),
        reason=data["reason"],
    )
    try:
        trial = grant(order)
    except InstancesError as error:
        url = reverse("admin:instances_account_change", args=[account.pk])
        refused = _("Nothing was granted: %(why)s") % {"why": error}
        return leave_dialog(request, url, refused=refused)
    _log(request, trial, f"Granted: {order.reason}")
    return leave_dialog(request, _url(trial), done=_("%s was granted.") % trial)


def _log(request: HttpRequest, trial: Trial, message: str) -> None:
    LogEntry.objects.log_actions(
        request.user.pk or 0,
        [trial],
        CHANGE,
        change_message=message,
        single_object=True,
    )


def _url(trial: Trial) -> str:
    return reverse("admin:instances_trial_change", args=[trial.pk])


class TrialInstanceInline(ReadOnlyInline):
    model = Instance
    fields = ("label", "phase", "plan", "region", "created_at", "ended_at")
    readonly_fields = fields
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Instance]:
        rows: QuerySet[Instance] = super().get_queryset(request)
        return rows.select_related("plan", "region")


class RunningFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("running", _("running")), ("ended", _("ended"))]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Trial]
    ) -> QuerySet[Trial]:
        if self.value() not in ("running", "ended"):
            return queryset
        return queryset.filter(ended_at__isnull=self.value() == "running")


@admin.register(Trial)
class TrialAdmin(ReadOnlyAdmin):
    list_display = (
        "__str__",
        "account",
        "state",
        "cards",
        "card_hours",
        "starts_at",
        "ends_at",
        "at_end",
        "granted_by",
    )
    list_filter = (RunningFilter, "at_end", "end_reason", "plans")
    list_select_related = ("account",)
    search_fields = ("account__name", "granted_by", "reason")
    search_help_text = gettext_lazy("Account, who granted it or why")
    fields = (
        ("account", "stands"),
        "plans",
        ("cards", "held"),
        ("card_hours", "used_hours"),
        ("starts_at", "ends_at"),
        ("at_end", "grace_hours"),
        ("granted_by", "reason"),
        ("ended_at", "end_reason"),
        ("ended_by", "end_remark"),
        "delete_at",
    )
    readonly_fields = ("stands", "held", "used_hours")
    inlines = (TrialInstanceInline,)
    actions_detail = ("cut_short",)

    @display(
        description=gettext_lazy("state"), label={"running": "success", "ended": "info"}
    )
    def state(self, trial: Trial) -> tuple[str, str]:
        if trial.ended_at is None:
            return "running", _("running")
        return "ended", trial.get_end_reason_display()

    @display(description=gettext_lazy("state"))
    def stands(self, trial: Trial) -> str:
        return self.state(trial)[1]

    @display(description=gettext_lazy("cards held"))
    def held(self, trial: Trial) -> int:
        return cards_held(trial)

    @display(description=gettext_lazy("card hours used"))
    def used_hours(self, trial: Trial) -> float:
        return round(used_of(trial, clock()).total_seconds() / 3600, 2)

    def has_cut_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        if not request.user.has_perm("instances.change_trial"):
            return False
        # What was sent is judged by the action, which says why it refuses.
        if request.method == "POST":
            return True
        trial = object_or_404(self, request, object_id or "")
        return trial.ended_at is None

    @action(
        description=gettext_lazy("Cut short"),
        icon="content_cut",
        variant=ActionVariant.DANGER,
        permissions=["cut"],
        attrs={"aria-label": gettext_lazy("Cut this trial short"), "role": "button"},
        dialog={
            "title": gettext_lazy("End this trial now?"),
            "description": gettext_lazy("Its account is told at once."),
            "form_class": CutForm,
            "form_submit_text": gettext_lazy("End it"),
            "submit_variant": "danger",
        },
    )
    def cut_short(
        self, request: HttpRequest, form: CutForm, object_id: str
    ) -> HttpResponse:
        trial: Any = object_or_404(self, request, object_id)
        reason, at_end = form.cleaned_data["reason"], form.cleaned_data["at_end"]
        try:
            cut_short(
                trial.pk,
                staff_actor(request),
                reason,
                AfterTrial(at_end) if at_end else None,
            )
        except InstancesError as error:
            return leave_dialog(request, _url(trial), refused=str(error))
        _log(request, trial, f"Cut short: {reason}")
        return leave_dialog(request, _url(trial), done=_("%s has ended.") % trial)
