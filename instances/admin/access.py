"""Staff pages of the access log, to read; what was wrong and right in logins, and when."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from instances.models import AccessEvent
from inventory.admin.read_only import ReadOnlyAdmin


@admin.register(AccessEvent)
class AccessEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "kind", "username", "address", "actor", "reason")
    list_filter = ("kind",)
    fields = (("at", "kind"), ("username", "address"), ("actor", "reason"))
    search_fields = ("username", "address", "actor")
    search_help_text = _("Person or address")
