"""Staff pages for quotas: the default of each GPU model, and an account's own."""

from django.contrib import admin
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin, TabularInline

from instances.models import GpuQuota


@admin.register(GpuQuota)
class GpuQuotaAdmin(ModelAdmin):
    list_display = ("gpu_model", "whose", "cards")
    list_filter = ("gpu_model",)
    list_select_related = ("account", "gpu_model")
    search_fields = ("account__name", "gpu_model__name")
    autocomplete_fields = ("account",)
    actions = None

    @admin.display(description=gettext_lazy("account"), ordering="account__name")
    def whose(self, quota: GpuQuota) -> str:
        return quota.account.name if quota.account else _("every other account")


class GpuQuotaInline(TabularInline):
    model = GpuQuota
    extra = 0
    fields = ("gpu_model", "cards")
    hide_title = True
    verbose_name = gettext_lazy("GPU quota of its own")
    verbose_name_plural = gettext_lazy("GPU quotas of its own")
