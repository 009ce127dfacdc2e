"""Staff page for feature flags: on for everyone, for accounts, for account tags, or off."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.postgres.fields import ArrayField
from unfold.admin import ModelAdmin
from unfold.widgets import (
    UnfoldAdminNullBooleanSelectWidget,
    UnfoldAdminTextInputWidget,
)

from flags.models import Flag


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
