"""Staff pages for the betas that accounts enrol in; flags are with what they gate."""

from typing import Any

from django.contrib import admin
from django.contrib.postgres.fields import ArrayField
from django.db.models import Count, Model, QuerySet, URLField
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextInputWidget

from flags.models import Beta, BetaEnrolment


@admin.register(Beta)
class BetaAdmin(ModelAdmin):
    list_display = (
        "slug",
        "label",
        "flag",
        "greenlight_only",
        "account_tags",
        "started_at",
        "ended_at",
        "enrolled_count",
    )
    list_filter = ("greenlight_only",)
    list_select_related = ("flag",)
    search_fields = ("slug", "label")
    fields = (
        ("slug", "label"),
        ("flag", "greenlight_only", "account_tags"),
        ("started_at", "ended_at"),
        "description",
        "more_info",
    )
    autocomplete_fields = ("flag",)
    formfield_overrides = {
        URLField: {"assume_scheme": "https"},
        ArrayField: {"widget": UnfoldAdminTextInputWidget},
    }
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Beta]:
        betas: QuerySet[Beta] = super().get_queryset(request)
        return betas.annotate(enrolled_total=Count("enrolments"))

    @admin.display(description=_("enrolled"), ordering="enrolled_total")
    def enrolled_count(self, beta: Any) -> int:
        return int(beta.enrolled_total)


@admin.register(BetaEnrolment)
class BetaEnrolmentAdmin(ModelAdmin):
    """Accounts enrol by the API; staff only end it, which the row's history keeps."""

    list_display = ("beta", "account", "enrolled_at", "enrolled_by")
    list_filter = ("beta",)
    list_select_related = ("beta", "account")
    search_fields = ("beta__slug", "account__name", "enrolled_by")
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        return False
