"""Staff pages of readiness thresholds, to edit, and of decisions on launches, to read."""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.template.defaultfilters import floatformat
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin
from unfold.decorators import display

from flags.models import LaunchDecision, ReadinessThreshold
from inventory.admin.read_only import ReadOnlyAdmin


@admin.register(ReadinessThreshold)
class ReadinessThresholdAdmin(ModelAdmin):
    """History is the admin's own, with the values."""

    list_display = ("line", "flag_or_all", "bound")
    list_filter = ("line", ("flag", admin.RelatedFieldListFilter))
    list_select_related = ("flag",)
    search_fields = ("flag__name", "line")
    fields = ("flag", "line", "bound")
    autocomplete_fields = ("flag",)
    actions = None

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else ("flag", "line")

    def has_delete_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        # Without the one for all flags, a line would never be green.
        is_default = isinstance(obj, ReadinessThreshold) and obj.flag is None
        return not is_default and super().has_delete_permission(request, obj)

    @display(description=gettext_lazy("flag"), ordering="flag__name")
    def flag_or_all(self, row: ReadinessThreshold) -> str:
        return str(row.flag or _("all others"))

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        bound = form.cleaned_data["bound"]
        return f"{form.initial.get('bound', '-')} → {bound}"


@admin.register(LaunchDecision)
class LaunchDecisionAdmin(ReadOnlyAdmin):
    list_display = ("at", "flag", "verdict", "by", "remark")
    list_filter = ("verdict", ("flag", admin.RelatedFieldListFilter))
    list_select_related = ("flag",)
    search_fields = ("flag__name", "by", "remark")
    fields = (("flag", "verdict"), ("by", "at"), "remark", "days", "lines", "failures")
    readonly_fields = ("days", "lines", "failures")

    @display(description=gettext_lazy("the report then"))
    def days(self, decision: LaunchDecision) -> str:
        report = decision.snapshot
        return _("%(since)s to %(until)s, computed at %(computed_at)s UTC") % report

    @display(description=gettext_lazy("lines"))
    def lines(self, decision: LaunchDecision) -> str:
        rows = format_html_join(
            "",
            "<tr><th scope='row'>{}</th><td>{}</td><td>{} {}</td><td>{}</td></tr>",
            (
                (
                    line["title"],
                    floatformat(line["value"], "-2") or "-",
                    "≥" if line["is_least"] else "≤",
                    floatformat(line["bound"], "-2") or "-",
                    line["status"],
                )
                for line in decision.snapshot["lines"]
            ),
        )
        return format_html('<table class="gc-table">{}</table>', rows)

    @display(description=gettext_lazy("failed launches"))
    def failures(self, decision: LaunchDecision) -> str:
        rows = decision.snapshot["failures"]
        if not rows:
            return _("none")
        return format_html_join(
            ", ",
            "{}: {}, {}",
            ((row["launches"], row["step"], row["cause"]) for row in rows),
        )
