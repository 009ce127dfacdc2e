"""Staff pages for webhooks and what was sent to them; never a secret, of an address either."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from instances.models import Webhook, WebhookDelivery
from instances.outbound import shown
from inventory.admin.read_only import ReadOnlyAdmin


@admin.register(Webhook)
class WebhookAdmin(ReadOnlyAdmin):
    list_display = ("id", "account", "address", "actions", "failures", "disabled_at")
    list_select_related = ("account",)
    search_fields = ("account__name", "url")
    fields = (
        ("account", "created_by"),
        "address",
        "actions",
        ("failures", "disabled_at"),
        ("not_before", "busy_until"),
        ("created_at", "updated_at"),
    )
    readonly_fields = ("address",)

    @admin.display(description=_("address"), ordering="url")
    def address(self, webhook: Webhook) -> str:
        return shown(webhook.url)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at",
        "account",
        "webhook",
        "action",
        "state",
        "attempts",
        "http_status",
        "problem",
    )
    list_filter = ("state",)
    list_select_related = ("webhook__account",)
    search_fields = ("webhook__account__name", "uuid")

    @admin.display(description=_("action"))
    def action(self, delivery: WebhookDelivery) -> str:
        return delivery.action

    @admin.display(description=_("account"), ordering="webhook__account__name")
    def account(self, delivery: WebhookDelivery) -> str:
        return delivery.webhook.account.name
