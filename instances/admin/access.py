"""Staff pages of the access log, to read; what was wrong and right in logins, and when."""

from django.contrib import admin

from instances.models import AccessEvent
from inventory.admin.read_only import ReadOnlyAdmin


@admin.register(AccessEvent)
class AccessEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "kind", "username", "address", "actor", "reason")
    list_filter = ("kind",)
    fields = (("at", "kind"), ("username", "address"), ("actor", "reason"))
    search_fields = ("username", "address", "actor")
    search_help_text = "Person or address"
