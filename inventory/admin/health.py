"""Staff pages for alerts and for the evidence of checks."""

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from inventory.admin.dialogs import (
    ReasonForm,
    leave_dialog,
    object_or_404,
    staff_actor,
)
from inventory.admin.read_only import ReadOnlyAdmin
from inventory.alerts import clear_alert
from inventory.attestation import report_digest
from inventory.choices import AlertClass, CheckOutcome
from inventory.models import Alert, CardCheck, CheckImage, HostOutage


class OpenFilter(admin.SimpleListFilter):
    title = gettext_lazy("open")
    parameter_name = "open"
    ended_field = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", _("open")), ("0", _("over"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in ("0", "1"):
            return queryset
        return queryset.filter(**{f"{self.ended_field}__isnull": self.value() == "1"})


class OpenAlertFilter(OpenFilter):
    ended_field = "cleared_at"


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = (
        "__str__",
        "shown_class",
        "source",
        "raised_at",
        "last_seen_at",
        "cleared_at",
        "cleared_by",
    )
    list_filter = (OpenAlertFilter, "alert_class", "source")
    list_select_related = ("region", "host", "card__host")
    search_fields = ("message", "source", "host__name", "card__host__name")
    search_help_text = gettext_lazy("Message, source or host")
    actions_detail = ("clear",)

    @display(
        description=gettext_lazy("class"),
        ordering="alert_class",
        label={AlertClass.PREVENTS_CLAIMS: "danger", AlertClass.WARNING: "warning"},
    )
    def shown_class(self, alert: Alert) -> tuple[str, str]:
        return alert.alert_class, alert.get_alert_class_display()

    def has_clear_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return request.user.has_perm("inventory.change_alert")

    @action(
        description=gettext_lazy("Clear"),
        icon="check",
        permissions=["clear"],
        attrs={"aria-label": gettext_lazy("Clear this alert")},
        dialog={
            "title": gettext_lazy("Clear this alert"),
            "description": gettext_lazy("What it kept from sale can be sold again."),
            "form_class": ReasonForm,
            "form_submit_text": gettext_lazy("Clear"),
        },
    )
    def clear(
        self, request: HttpRequest, form: ReasonForm, object_id: str
    ) -> HttpResponse:
        alert = object_or_404(self, request, object_id)
        url = reverse("admin:inventory_alert_change", args=[alert.pk])
        with transaction.atomic():
            cleared = clear_alert(alert.pk, staff_actor(request))
        if not cleared:
            return leave_dialog(request, url, refused=_("It was cleared already."))
        self.log_change(request, alert, f"Cleared. {form.cleaned_data['reason']}")
        return leave_dialog(request, url, done=_("Cleared."))


class OpenOutageFilter(OpenFilter):
    ended_field = "ended_at"


@admin.register(HostOutage)
class HostOutageAdmin(ReadOnlyAdmin):
    list_display = ("host", "began_at", "ended_at", "last_seen_at", "cause")
    list_filter = (OpenOutageFilter, ("host__region", admin.RelatedFieldListFilter))
    list_select_related = ("host",)
    search_fields = ("host__name", "cause")
    search_help_text = gettext_lazy("Host or cause")


@admin.register(CardCheck)
class CardCheckAdmin(ReadOnlyAdmin):
    list_display = ("card", "kind", "shown_outcome", "finding", "started_at", "actor")
    list_filter = ("kind", "outcome", "card__host__region")
    list_select_related = ("card__host",)
    search_fields = ("card__host__name", "card__slot_path", "finding", "actor")
    search_help_text = gettext_lazy("Host, PCI slot, finding or job")
    fields = (
        ("card", "kind", "outcome"),
        ("started_at", "finished_at"),
        "finding",
        ("image", "actor"),
        "console",
        "console_digest",
        "attested_digest",
    )
    readonly_fields = ("attested_digest",)

    @display(description=gettext_lazy("SHA-256 of all of this, as customers are told"))
    def attested_digest(self, check: CardCheck) -> str:
        return report_digest(check)

    @display(
        description=gettext_lazy("outcome"),
        ordering="outcome",
        label={
            CheckOutcome.PASSED: "success",
            CheckOutcome.FAILED: "danger",
            CheckOutcome.SKIPPED: "warning",
        },
    )
    def shown_outcome(self, check: CardCheck) -> tuple[str, str]:
        return check.outcome, check.get_outcome_display()


@admin.register(CheckImage)
class CheckImageAdmin(ModelAdmin):
    list_display = ("slug", "kernel_path", "memory_mib", "timeout_s", "expected_s")
    search_fields = ("slug", "kernel_path")
