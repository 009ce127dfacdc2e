"""The staff pages of what accounts say of their instances, beside what became of these."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flags.models import Flag
from instances.feedback import of_flag, outcome_of
from instances.models import Instance, InstanceFeedback
from inventory.admin.read_only import ReadOnlyAdmin


class FlagFilter(admin.SimpleListFilter):
    """Behind a flag: by the plan, its GPU model or the region."""

    title = gettext_lazy("flag")
    parameter_name = "flag"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = Flag.objects.order_by("name").values_list("name", flat=True)
        return [(name, name) for name in names]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[InstanceFeedback]
    ) -> QuerySet[InstanceFeedback]:
        name = self.value()
        return queryset & of_flag(name) if name else queryset


@admin.register(InstanceFeedback)
class InstanceFeedbackAdmin(ReadOnlyAdmin):
    list_display = (
        "instance",
        "account",
        "plan",
        "card_model",
        "workload",
        "would_use_again",
        "text",
        "outcome",
        "written_by",
        "updated_at",
    )
    list_filter = (
        "workload",
        "would_use_again",
        ("instance__plan", admin.RelatedOnlyFieldListFilter),
        FlagFilter,
    )
    list_select_related = ("instance__account", "instance__plan__gpu_model")
    list_per_page = 50
    search_fields = ("instance__label", "instance__account__name", "text")
    search_help_text = gettext_lazy("Instance, account or what they said")

    @admin.display(
        description=gettext_lazy("account"), ordering="instance__account__name"
    )
    def account(self, row: InstanceFeedback) -> str:
        return row.instance.account.name

    @admin.display(description=gettext_lazy("plan"), ordering="instance__plan__slug")
    def plan(self, row: InstanceFeedback) -> str:
        return row.instance.plan.slug

    @admin.display(description=gettext_lazy("cards"))
    def card_model(self, row: InstanceFeedback) -> str:
        return cards_of(row.instance)

    @admin.display(description=gettext_lazy("outcome"))
    def outcome(self, row: InstanceFeedback) -> str:
        return outcome_text(row.instance)


def cards_of(instance: Instance) -> str:
    plan = instance.plan
    if plan.gpu_model is None:
        return ""
    return _("%(cards)s x %(model)s") % {"cards": plan.cards, "model": plan.gpu_model}


def outcome_text(instance: Instance) -> str:
    """Say whether it launched, how fast, and how it ended."""
    found = outcome_of(instance)
    if found.launched is None:
        return _("is being launched")
    if found.to_running is None:
        return _("never ran: %(how)s") % {"how": instance.get_phase_display()}
    launched = _("launched in %(seconds).1f s") % {
        "seconds": found.to_running.total_seconds()
    }
    if found.lived is None:
        return f"{launched}, {instance.get_phase_display()}"
    hours = found.lived.total_seconds() / 3600
    ended = _("%(how)s after %(hours).1f h") % {
        "how": instance.get_phase_display(),
        "hours": hours,
    }
    return f"{launched}, {ended}"
