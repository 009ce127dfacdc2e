"""Staff pages for feature flags and for the betas that accounts enrol in."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.postgres.fields import ArrayField
from django.db.models import Count, Model, QuerySet, URLField
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.widgets import (
    UnfoldAdminNullBooleanSelectWidget,
    UnfoldAdminTextInputWidget,
)

from flags.models import Beta, BetaEnrolment, Flag


class FlagForm(forms.ModelForm):
    everyone = forms.NullBooleanField(
        required=False,
        widget=UnfoldAdminNullBooleanSelectWidget(),
        help_text="“Off” is the kill switch: it holds for every claim from now on.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        widget = self.fields["everyone"].widget
        assert isinstance(widget, forms.NullBooleanSelect)  # noqa: S101
        widget.choices = [
            ("unknown", "By list: the accounts and tags below"),
            ("true", "On for everyone: launched"),
            ("false", "Off for everyone, whoever is listed"),
        ]


@admin.register(Flag)
class FlagAdmin(ModelAdmin):
    """waffle's other fields open a flag to any visitor; the database refuses them."""

    form = FlagForm
    list_display = ("name", "everyone", "account_tags", "note", "modified")
    list_filter = ("everyone",)
    search_fields = ("name", "note")
    fields = ("name", "everyone", "accounts", "account_tags", "note")
    autocomplete_fields = ("accounts",)
    formfield_overrides = {ArrayField: {"widget": UnfoldAdminTextInputWidget}}


@admin.register(Beta)
class BetaAdmin(ModelAdmin):
    list_display = (
        "slug",
        "label",
        "flag",
        "greenlight_only",
        "started_at",
        "ended_at",
        "enrolled_count",
    )
    list_filter = ("greenlight_only",)
    list_select_related = ("flag",)
    search_fields = ("slug", "label")
    fields = (
        ("slug", "label"),
        ("flag", "greenlight_only"),
        ("started_at", "ended_at"),
        "description",
        "more_info",
    )
    autocomplete_fields = ("flag",)
    formfield_overrides = {URLField: {"assume_scheme": "https"}}
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Beta]:
        betas: QuerySet[Beta] = super().get_queryset(request)
        return betas.annotate(enrolled_total=Count("enrolments"))

    @admin.display(description="enrolled", ordering="enrolled_total")
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
