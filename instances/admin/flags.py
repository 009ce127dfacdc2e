"""Staff pages for feature flags: every change with its reason, the kill, what is planned."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.postgres.fields import ArrayField
from django.db.models import Count, Max, Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminNullBooleanSelectWidget,
    UnfoldAdminTextInputWidget,
)

from flags import changes
from flags.changes import Why
from flags.exceptions import ChangeRefused
from flags.models import (
    Flag,
    FlagChange,
    FlagProposal,
    LaunchDecision,
    ProposalState,
)
from flags.models.change import OPEN_STATES
from instances.admin.flag_changes import PlannedForm, outcome
from instances.admin.reports import PERMISSION as REPORTS
from instances.models import RefusedDemand
from inventory.admin.dialogs import (
    ReasonForm,
    leave_dialog,
    object_or_404,
    staff_actor,
)
from inventory.admin.read_only import ReadOnlyAdmin, ReadOnlyInline

_LINK = '<a class="gc-link" href="{}">{}</a>'
_WITHOUT_A_TIME = ("name", "note", "reason")
# Of each stage its colour; None is a label without one.
_STAGE_COLOURS = {
    "killed": "danger",
    "everyone": "success",
    "off": "warning",
    "list": None,
}


class FlagForm(forms.ModelForm, PlannedForm):
    everyone = forms.NullBooleanField(
        required=False,
        widget=UnfoldAdminNullBooleanSelectWidget(),
        help_text=gettext_lazy(
            "Off is for a product that is not to be sold. What must stop at once is "
            "killed: that keeps all this for when it is taken back."
        ),
        label=gettext_lazy("Everyone"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "everyone" not in self.fields:
            return
        widget = self.fields["everyone"].widget
        assert isinstance(widget, forms.NullBooleanSelect)  # noqa: S101
        widget.choices = [
            ("unknown", _("By list: percentage, accounts, tags and betas")),
            ("true", _("On for everyone: launched")),
            ("false", _("Off for everyone, whoever is listed")),
        ]

    def clean_everyone(self) -> bool | None:
        everyone: bool | None = self.cleaned_data["everyone"]
        if everyone and not self.instance.everyone:
            raise forms.ValidationError(
                _("Launch it by its Launch page: that asks for a decision.")
            )
        return everyone

    def changes(self) -> dict[str, Any]:
        """Return what is to be other than it is, as changes.state_of() gives it."""
        wanted = {name: self.cleaned_data[name] for name in changes.FIELDS}
        wanted["accounts"] = sorted(account.pk for account in wanted["accounts"])
        wanted["account_tags"] = sorted(wanted["account_tags"])
        state = changes.state_of(Flag.objects.get(pk=self.instance.pk))
        return {name: wanted[name] for name in wanted if wanted[name] != state[name]}


class FlagProposalInline(ReadOnlyInline):
    model = FlagProposal
    fields = ("state", "kind", "changes", "reason", "proposed_by", "due_at")
    readonly_fields = fields
    show_change_link = True
    verbose_name_plural = gettext_lazy("planned, and what became of it")


class FlagChangeInline(ReadOnlyInline):
    model = FlagChange
    fields = ("at", "kind", "by", "approved_by", "reason", "before", "after")
    readonly_fields = fields
    verbose_name_plural = gettext_lazy("changes")


class LaunchDecisionInline(ReadOnlyInline):
    model = LaunchDecision
    fields = ("at", "verdict", "by", "remark")
    readonly_fields = fields
    show_change_link = True
    verbose_name_plural = gettext_lazy("decisions")


@admin.register(Flag)
class FlagAdmin(ModelAdmin):
    """waffle's other fields open a flag to any visitor; the database refuses them."""

    form = FlagForm
    list_display = (
        "name",
        "shown_stage",
        "account_percent",
        "account_tags",
        "note",
        "modified",
    )
    list_filter = ("everyone", "is_killed")
    search_fields = ("name", "note")
    autocomplete_fields = ("accounts",)
    formfield_overrides = {ArrayField: {"widget": UnfoldAdminTextInputWidget}}
    actions = None
    actions_detail = ("kill", "take_back")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return _WITHOUT_A_TIME
        links = ("readiness",) if request.user.has_perm(REPORTS) else ()
        launch = ("launch",) if request.user.has_perm("flags.change_flag") else ()
        return (
            *("name", "stage", "refused", *links, *launch),
            *("everyone", "account_percent"),
            *("accounts", "account_tags", "note", "reason", "due_at"),
        )

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        if obj is None:
            return ()
        return (LaunchDecisionInline, FlagProposalInline, FlagChangeInline)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # What names it, a plan or a share of accounts, would name nothing.
        return (
            () if obj is None else ("name", "stage", "refused", "readiness", "launch")
        )

    def has_delete_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        # Its changes are history, and plans name it.
        return False

    @display(
        description=gettext_lazy("state"), ordering="everyone", label=_STAGE_COLOURS
    )
    def shown_stage(self, flag: Flag) -> tuple[str, str]:
        return _stage(flag)

    @display(description=gettext_lazy("state"))
    def stage(self, flag: Flag) -> str:
        return _stage(flag)[1]

    @display(description=gettext_lazy("refused by kills"))
    def refused(self, flag: Flag) -> str:
        """Return how often a kill refused what the account would have had."""
        rows = RefusedDemand.objects.filter(
            reason=RefusedDemand.Reason.KILLED, flag_name=flag.name
        )
        counted = rows.aggregate(
            times=Count("pk"), accounts=Count("account", distinct=True), last=Max("at")
        )
        if not counted["times"]:
            return _("none")
        return format_html(
            '<a href="{}?q={}">{}</a>',
            reverse("admin:instances_refuseddemand_changelist"),
            flag.name,
            _("%(times)s times, %(accounts)s accounts, last at %(last)s UTC")
            % {**counted, "last": f"{counted['last']:%Y-%m-%d %H:%M:%S}"},
        )

    @display(description=gettext_lazy("readiness"))
    def readiness(self, flag: Flag) -> str:
        url = reverse("admin:readiness", args=[flag.pk])
        return format_html(_LINK, url, _("Report and decision"))

    @display(description=gettext_lazy("launch"))
    def launch(self, flag: Flag) -> str:
        url = reverse("admin:flag-launch", args=[flag.pk])
        words = _("Take the launch back") if flag.everyone else _("Open to everyone")
        return format_html(_LINK, url, words)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except ChangeRefused as error:
            messages.error(
                request, _("Nothing was changed. %(error)s") % {"error": error}
            )
            return redirect(request.path)

    def save_model(
        self, request: HttpRequest, obj: Flag, form: FlagForm, change: bool
    ) -> None:
        why = Why(staff_actor(request), form.cleaned_data["reason"])
        if not change:
            obj.pk = changes.create(obj.name, obj.note, why).pk
            return
        wanted = form.changes()
        if not wanted:
            raise ChangeRefused(_("All is as it was."))
        done = changes.change(obj.pk, wanted, why, form.cleaned_data["due_at"])
        self.message_user(request, outcome(done), messages.SUCCESS)

    def save_related(self, *args: Any, **kwargs: Any) -> None:
        """The accounts are part of the change, or of what is planned."""

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        return form.cleaned_data["reason"]

    def response_change(self, request: HttpRequest, obj: Flag) -> HttpResponse:
        return redirect(_url(obj))

    def has_kill_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        if not request.user.has_perm("flags.kill_flag"):
            return False
        flag = object_or_404(self, request, object_id or "")
        # What was sent is judged by the action, which says why it refuses.
        return request.method == "POST" or not flag.is_killed

    @action(
        description=gettext_lazy("Kill"),
        icon="power_settings_new",
        variant=ActionVariant.DANGER,
        permissions=["kill"],
        attrs={"aria-label": gettext_lazy("Kill this flag"), "role": "button"},
        dialog={
            "title": gettext_lazy("Shut it for everybody, at once?"),
            "description": gettext_lazy(
                "No claim is made after it, also not by work that waits. "
                "Machines that run go on. What is planned for the flag is cancelled."
            ),
            "form_class": ReasonForm,
            "form_submit_text": gettext_lazy("Kill"),
            "submit_variant": "danger",
        },
    )
    def kill(
        self, request: HttpRequest, form: ReasonForm, object_id: str
    ) -> HttpResponse:
        flag = object_or_404(self, request, object_id)
        why = Why(staff_actor(request), form.cleaned_data["reason"])
        try:
            done = changes.kill(flag.pk, why)
        except ChangeRefused as error:
            return leave_dialog(request, _url(flag), refused=str(error))
        self.log_change(request, flag, f"Killed: {why.reason}")
        return leave_dialog(request, _url(flag), done=outcome(done))

    def has_take_back_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        if not request.user.has_perm("flags.change_flag"):
            return False
        flag = object_or_404(self, request, object_id or "")
        return request.method == "POST" or flag.is_killed

    @action(
        description=gettext_lazy("Take the kill back"),
        icon="undo",
        permissions=["take_back"],
        attrs={"aria-label": gettext_lazy("Take the kill back"), "role": "button"},
        dialog={
            "title": gettext_lazy("Have it as it was before the kill?"),
            "form_class": ReasonForm,
            "form_submit_text": gettext_lazy("Take back"),
        },
    )
    def take_back(
        self, request: HttpRequest, form: ReasonForm, object_id: str
    ) -> HttpResponse:
        flag = object_or_404(self, request, object_id)
        why = Why(staff_actor(request), form.cleaned_data["reason"])
        try:
            done = changes.take_back(flag.pk, why)
        except ChangeRefused as error:
            return leave_dialog(request, _url(flag), refused=str(error))
        self.log_change(request, flag, f"Kill taken back: {why.reason}")
        return leave_dialog(request, _url(flag), done=outcome(done))


def _stage(flag: Flag) -> tuple[str, str]:
    """Return a key of _STAGE_COLOURS, and how people say it."""
    if flag.is_killed:
        return "killed", _("killed")
    if flag.everyone is None:
        return "list", _("by list")
    return ("everyone", _("everyone")) if flag.everyone else ("off", _("off"))


def _url(flag: Flag) -> str:
    return reverse("admin:flags_flag_change", args=[flag.pk])


@admin.register(FlagChange)
class FlagChangeAdmin(ReadOnlyAdmin):
    list_display = ("at", "flag", "kind", "by", "approved_by", "reason")
    list_filter = ("kind", ("flag", admin.RelatedFieldListFilter))
    list_select_related = ("flag",)
    search_fields = ("flag__name", "by", "reason")
    fields = (
        ("flag", "kind", "at"),
        ("by", "approved_by"),
        "reason",
        *("before", "after"),
    )


@admin.register(FlagProposal)
class FlagProposalAdmin(ReadOnlyAdmin):
    list_display = (
        "flag",
        "state",
        "due_at",
        "proposed_by",
        "proposed_at",
        "approved_by",
        "reason",
    )
    list_filter = ("state", ("flag", admin.RelatedFieldListFilter))
    list_select_related = ("flag",)
    search_fields = ("flag__name", "proposed_by", "reason")
    fields = (
        ("flag", "kind", "state"),
        ("changes", "base"),
        "reason",
        ("proposed_by", "proposed_at"),
        ("due_at", "needs_two", "approved_by"),
        ("ended_at", "ended_by"),
    )
    actions_detail = ("approve", "cancel")

    def has_approve_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return self._may_end(request, object_id, (ProposalState.WAITING,))

    def has_cancel_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return self._may_end(request, object_id, OPEN_STATES)

    def _may_end(
        self,
        request: HttpRequest,
        object_id: str | None,
        states: tuple[ProposalState, ...],
    ) -> bool:
        if not request.user.has_perm("flags.change_flag"):
            return False
        row = object_or_404(self, request, object_id or "")
        return request.method == "POST" or row.state in states

    @action(
        description=gettext_lazy("Approve"),
        icon="check",
        permissions=["approve"],
        attrs={"aria-label": gettext_lazy("Approve this change"), "role": "button"},
        dialog={
            "title": gettext_lazy("Approve it as the second person?"),
            "form_class": BaseDialogForm,
            "form_submit_text": gettext_lazy("Approve"),
        },
    )
    def approve(
        self, request: HttpRequest, form: BaseDialogForm, object_id: str
    ) -> HttpResponse:
        row = object_or_404(self, request, object_id)
        try:
            done = changes.approve(row.pk, staff_actor(request))
        except ChangeRefused as error:
            return leave_dialog(request, _url(row.flag), refused=str(error))
        self.log_change(request, row, "Approved")
        return leave_dialog(
            request, _url(row.flag), done=f"{done}: {done.get_state_display()}."
        )

    @action(
        description=gettext_lazy("Cancel"),
        icon="close",
        variant=ActionVariant.DANGER,
        permissions=["cancel"],
        attrs={"aria-label": gettext_lazy("Cancel this change"), "role": "button"},
        dialog={
            "title": gettext_lazy("Have it not made?"),
            "form_class": BaseDialogForm,
            "form_submit_text": gettext_lazy("Cancel the change"),
            "submit_variant": "danger",
        },
    )
    def cancel(
        self, request: HttpRequest, form: BaseDialogForm, object_id: str
    ) -> HttpResponse:
        row = object_or_404(self, request, object_id)
        try:
            changes.cancel(row.pk, staff_actor(request))
        except ChangeRefused as error:
            return leave_dialog(request, _url(row.flag), refused=str(error))
        self.log_change(request, row, "Cancelled")
        return leave_dialog(
            request, _url(row.flag), done=_("%(row)s: cancelled.") % {"row": row}
        )
