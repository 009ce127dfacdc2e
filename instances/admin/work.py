"""Staff pages for jobs with their steps, and for what customers were told."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from instances.actions.cancel_job import cancel_job
from instances.choices import ENDED_JOB_STATES, JobState
from instances.exceptions import CannotCancel
from instances.models import Event, Job, JobStep
from inventory.admin.colours import coloured
from inventory.admin.dialogs import (
    ReasonForm,
    actor_with_reason,
    leave_dialog,
    object_or_404,
)
from inventory.admin.read_only import ReadOnlyAdmin, ReadOnlyInline

JOB_COLOURS = {
    JobState.RUNNING: "info",
    JobState.UNWINDING: "warning",
    JobState.SUCCEEDED: "success",
    JobState.FAILED: "danger",
}


class OpenJobFilter(admin.SimpleListFilter):
    title = gettext_lazy("at work")
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", _("open")), ("0", _("ended"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "1":
            return queryset.exclude(state__in=ENDED_JOB_STATES)
        if self.value() == "0":
            return queryset.filter(state__in=ENDED_JOB_STATES)
        return queryset


class JobStepInline(ReadOnlyInline):
    model = JobStep
    fields = ("label", "state", "started_at", "finished_at", "detail")


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = (
        "__str__",
        "shown_state",
        "subject",
        "account",
        "actor",
        "attempts",
        "created_at",
        "finished_at",
        "public_message",
    )
    list_filter = (OpenJobFilter, "state", "kind")
    list_select_related = ("instance__account", "card__host")
    search_fields = (
        "instance__label",
        "instance__account__name",
        "card__host__name",
        "card__slot_path",
        "actor",
    )
    search_help_text = gettext_lazy("Instance, account, host, PCI slot or actor")
    inlines = (JobStepInline,)
    fields = (
        ("kind", "state"),
        ("subject", "actor"),
        ("created_at", "started_at"),
        ("finished_at", "attempts"),
        ("deadline_at", "not_before"),
        ("lease_expires_at", "lease_holder"),
        "public_message",
        "internal_detail",
    )
    readonly_fields = ("subject",)
    actions_detail = ("cancel_job",)

    def has_cancel_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        if not request.user.has_perm("instances.change_job"):
            return False
        # What was sent is judged by the action, which says why it refuses.
        if request.method == "POST":
            return True
        job = object_or_404(self, request, object_id or "")
        return bool(job.state == JobState.QUEUED)

    @action(
        description=gettext_lazy("Cancel"),
        icon="cancel",
        variant=ActionVariant.DANGER,
        permissions=["cancel"],
        attrs={"aria-label": gettext_lazy("Cancel this job"), "role": "button"},
        dialog={
            "title": gettext_lazy("Cancel this job?"),
            "description": gettext_lazy(
                "It has not begun. A launch's cards, cores and memory are free again, and "
                "the customer is told that it was cancelled. A reservation that it used is "
                "used up."
            ),
            "form_class": ReasonForm,
            "form_submit_text": gettext_lazy("Cancel the job"),
            "submit_variant": "danger",
        },
    )
    def cancel_job(
        self, request: HttpRequest, form: ReasonForm, object_id: str
    ) -> HttpResponse:
        job: Any = object_or_404(self, request, object_id)
        url = reverse("admin:instances_job_change", args=[job.pk])
        who = actor_with_reason(request, form)
        try:
            cancel_job(job.pk, who)
        except CannotCancel as error:
            return leave_dialog(request, url, refused=str(error))
        self.log_change(request, job, f"cancelled: {who.reason}")
        return leave_dialog(
            request, url, done=_("%(job)s was cancelled.") % {"job": job}
        )

    @display(
        description=gettext_lazy("state"),
        ordering="state",
        label=coloured(JobState, JOB_COLOURS),
    )
    def shown_state(self, job: Job) -> tuple[str, str]:
        return job.state, job.get_state_display()

    @display(description=gettext_lazy("about"))
    def subject(self, job: Job) -> str:
        if job.card_id is not None:
            url = reverse("admin:inventory_card_change", args=[job.card_id])
        else:
            url = reverse("admin:instances_instance_change", args=[job.instance_id])
        return format_html('<a class="gc-link" href="{}">{}</a>', url, job.subject)

    @display(description=gettext_lazy("account"), ordering="instance__account__name")
    def account(self, job: Job) -> str:
        return job.instance.account.name if job.instance else ""


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at",
        "account",
        "action",
        "entity_label",
        "status",
        "percent_complete",
        "username",
        "message",
    )
    list_filter = ("action", "status")
    list_select_related = ("account",)
    search_fields = ("account__name", "entity_label", "username")
    search_help_text = gettext_lazy("Account, instance or user")
