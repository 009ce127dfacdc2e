"""Staff pages of the single usage intervals, to read."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from instances.models import UsageInterval
from inventory.admin.read_only import ReadOnlyAdmin


@admin.register(UsageInterval)
class UsageIntervalAdmin(ReadOnlyAdmin):
    list_display = (
        "instance",
        "account",
        "plan",
        "starts_at",
        "ends_at",
        "price_hourly",
        "price_monthly",
        "is_billed",
    )
    list_filter = ("is_billed", "plan")
    list_select_related = ("instance__account", "plan")
    search_fields = ("instance__label", "instance__account__name", "instance__uuid")
    search_help_text = _("Instance, account or UUID")

    @admin.display(description=_("account"), ordering="instance__account__name")
    def account(self, interval: UsageInterval) -> str:
        return interval.instance.account.name
