"""Staff pages for quotas: the default of each GPU model, and an account's own."""

from django.contrib import admin
from django.utils.html import format_html_join
from unfold.admin import ModelAdmin, TabularInline

from instances.models import Account, GpuQuota
from instances.quotas import gpu_use


@admin.register(GpuQuota)
class GpuQuotaAdmin(ModelAdmin):
    list_display = ("gpu_model", "whose", "cards")
    list_filter = ("gpu_model",)
    list_select_related = ("account", "gpu_model")
    search_fields = ("account__name", "gpu_model__name")
    autocomplete_fields = ("account",)
    actions = None

    @admin.display(description="account", ordering="account__name")
    def whose(self, quota: GpuQuota) -> str:
        return quota.account.name if quota.account else "every other account"


class GpuQuotaInline(TabularInline):
    model = GpuQuota
    extra = 0
    fields = ("gpu_model", "cards")
    hide_title = True
    verbose_name = "GPU quota of its own"
    verbose_name_plural = "GPU quotas of its own"


def shown_use(account: Account) -> str:
    """Return the account's use of each GPU model that it has a quota for, or uses."""
    lines = [
        (
            use.gpu_model.name,
            use.used,
            "no limit" if use.allowed is None else use.allowed,
        )
        for use in gpu_use(account)
        if use.used or use.allowed is not None
    ]
    if not lines:
        return "none in use, no limit"
    return format_html_join("; ", "{}: {} in use or reserved, allowed: {}", lines)
