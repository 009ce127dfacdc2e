"""Staff page for feature flags: on for everyone, for accounts, for account tags, or off."""

from django.contrib import admin
from unfold.admin import ModelAdmin

from flags.models import Flag


@admin.register(Flag)
class FlagAdmin(ModelAdmin):
    """waffle's other fields open a flag to any visitor; the database refuses them."""

    list_display = ("name", "everyone", "account_tags", "note", "modified")
    list_filter = ("everyone",)
    search_fields = ("name", "note")
    fields = ("name", "everyone", "accounts", "account_tags", "note")
    autocomplete_fields = ("accounts",)
