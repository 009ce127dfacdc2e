"""Staff pages of refused demand, to read; the report of it counts."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from instances.models import RefusedDemand
from inventory.admin.read_only import ReadOnlyAdmin


@admin.register(RefusedDemand)
class RefusedDemandAdmin(ReadOnlyAdmin):
    list_display = (
        "at",
        "account",
        "plan",
        "region",
        "reason",
        "flag_name",
        "is_employee",
    )
    list_filter = ("reason", "region", "plan", "is_employee")
    list_select_related = ("account", "plan", "region")
    search_fields = ("account__name", "flag_name")
    search_help_text = _("Account or killed flag")
