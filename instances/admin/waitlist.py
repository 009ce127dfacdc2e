"""The staff page of who waits for what."""

from django.contrib import admin

from instances.models import WaitlistEntry
from inventory.admin.read_only import ReadOnlyAdmin


@admin.register(WaitlistEntry)
class WaitlistEntryAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "account",
        "plan",
        "region",
        "state",
        "reservation",
        "created_at",
        "expires_at",
    )
    list_filter = ("state", "plan", ("region", admin.RelatedFieldListFilter))
    list_select_related = ("account", "plan", "region", "reservation")
    search_fields = ("account__name", "plan__slug")
