"""Staff pages for instances: who runs what where, its progress, and how to delete it."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from instances.actions.delete import delete
from instances.admin import live, power
from instances.admin.feedback import cards_of, outcome_text
from instances.admin.force_release import (
    FORCE_RELEASE,
    ForceReleaseForm,
    force_release_dialog,
    may_force_release,
)
from instances.admin.resize import RESIZE, ResizeForm, may_resize, resize_dialog
from instances.choices import ENDED_PHASES, Desired, Phase
from instances.exceptions import InstancesError
from instances.models import Instance
from instances.timeline import instance_sources
from inventory.admin.colours import coloured
from inventory.admin.dialogs import leave_dialog, object_or_404, staff_actor
from inventory.admin.read_only import ReadOnlyAdmin
from inventory.admin.timeline_part import timeline_part

PHASE_COLOURS = {
    Phase.PROVISIONING: "info",
    Phase.BOOTING: "info",
    Phase.RUNNING: "success",
    Phase.SHUTTING_DOWN: "info",
    Phase.REBOOTING: "info",
    Phase.REBUILDING: "info",
    Phase.RESIZING: "info",
    Phase.DELETING: "warning",
    Phase.FAILED: "danger",
}


class EndedFilter(admin.SimpleListFilter):
    title = gettext_lazy("life")
    parameter_name = "life"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("now", _("there now")), ("ended", _("ended"))]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Instance]
    ) -> QuerySet[Instance]:
        if self.value() == "now":
            return queryset.exclude(phase__in=ENDED_PHASES)
        if self.value() == "ended":
            return queryset.filter(phase__in=ENDED_PHASES)
        return queryset


@admin.register(Instance)
class InstanceAdmin(power.PowerDialogs, ReadOnlyAdmin):
    list_display = (
        "label",
        "shown_phase",
        "account",
        "plan",
        "region_slug",
        "image",
        "created_by",
        "created_at",
    )
    list_filter = (
        EndedFilter,
        "phase",
        "plan",
        ("region", admin.RelatedFieldListFilter),
        ("account", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    list_select_related = ("account", "plan", "region", "image")
    list_per_page = 50
    search_fields = ("label", "uuid", "account__name", "created_by")
    search_help_text = gettext_lazy("Label, UUID, account or who launched it")
    list_before_template = "admin/instances/instance/no_instances.html"
    change_form_template = "admin/instances/instance/page.html"
    fields = ("label",)
    actions_list = ("launch_instance",)
    actions_detail = (
        "boot_instance",
        "shut_down_instance",
        "reboot_instance",
        "rebuild_instance",
        "resize",
        "reset_password",
        "switch_watchdog",
        "delete_instance",
        "force_release",
    )

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(f"<int:object_id>/{name}/", view, name=f"instances_instance_{name}")
            for name, view in (("progress", live.progress), ("console", live.console))
        ]
        return [*own, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Instance]:
        instances: QuerySet[Instance] = super().get_queryset(request)
        return instances.select_related(
            "account", "plan__gpu_model", "region", "image", "feedback"
        )

    def add_view(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
        return redirect("admin:launch")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        instance = kwargs.get("obj")
        if instance is not None:
            context.update(live.live(instance))
            context["feedback"] = getattr(instance, "feedback", None)
            context["outcome"] = outcome_text(instance)
            context["cards"] = cards_of(instance)
            sources = instance_sources(instance, request.user.has_perm)
            context.update(timeline_part(request, sources))
        return super().render_change_form(request, context, *args, **kwargs)

    @display(
        description=gettext_lazy("phase"),
        ordering="phase",
        label=coloured(Phase, PHASE_COLOURS),
    )
    def shown_phase(self, instance: Instance) -> tuple[str, str]:
        return instance.phase, instance.get_phase_display()

    @display(description=gettext_lazy("region"), ordering="region__slug")
    def region_slug(self, instance: Instance) -> str:
        return instance.region.slug

    def has_launch_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("instances.add_instance")

    def has_delete_instance_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        if not request.user.has_perm("instances.delete_instance"):
            return False
        # What was sent is judged by the action, which says why it refuses.
        if request.method == "POST":
            return True
        instance = object_or_404(self, request, object_id or "")
        return instance.desired != Desired.DELETED and not instance.is_ended

    @action(
        description=gettext_lazy("Launch an instance"),
        icon="rocket_launch",
        variant=ActionVariant.PRIMARY,
        permissions=["launch"],
        attrs={"aria-label": gettext_lazy("Launch an instance")},
    )
    def launch_instance(self, request: HttpRequest) -> HttpResponse:
        return redirect("admin:launch")

    @action(
        description=gettext_lazy("Delete this instance"),
        icon="delete",
        variant=ActionVariant.DANGER,
        permissions=["delete_instance"],
        attrs={"aria-label": gettext_lazy("Delete this instance"), "role": "button"},
        dialog={
            "title": gettext_lazy("Delete this instance?"),
            "description": gettext_lazy(
                "The guest is stopped at once and all that it holds is lost. Its cards "
                "are released when the host proves that it is gone."
            ),
            "form_class": BaseDialogForm,
            "form_submit_text": gettext_lazy("Delete"),
            "submit_variant": "danger",
        },
    )
    def delete_instance(
        self, request: HttpRequest, form: BaseDialogForm, object_id: str
    ) -> HttpResponse:
        instance = object_or_404(self, request, object_id)
        url = reverse("admin:instances_instance_change", args=[instance.pk])
        try:
            delete(instance, staff_actor(request), request.user.get_username())
        except InstancesError as error:
            return leave_dialog(request, url, refused=f"{instance}: {error}")
        return leave_dialog(
            request,
            url,
            done=_("%(instance)s is being deleted.") % {"instance": instance},
        )

    def has_resize_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return may_resize(request, object_or_404(self, request, object_id or ""))

    @action(**RESIZE)
    def resize(
        self, request: HttpRequest, form: ResizeForm, object_id: str
    ) -> HttpResponse:
        instance = object_or_404(self, request, object_id)
        url = reverse("admin:instances_instance_change", args=[instance.pk])
        return resize_dialog(request, form, instance, url)

    def has_force_release_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        instance = object_or_404(self, request, object_id or "")
        return may_force_release(request, instance.uuid)

    @action(**FORCE_RELEASE)
    def force_release(
        self, request: HttpRequest, form: ForceReleaseForm, object_id: str
    ) -> HttpResponse:
        instance = object_or_404(self, request, object_id)
        url = reverse("admin:instances_instance_change", args=[instance.pk])
        return force_release_dialog(self, request, form, instance, instance.uuid, url)
