"""Staff pages of the invoices, to read."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from instances.models import Invoice, InvoiceItem
from inventory.admin.read_only import ReadOnlyAdmin, ReadOnlyInline


class ItemInline(ReadOnlyInline):
    model = InvoiceItem
    fields = (
        "label",
        "region",
        "starts_at",
        "ends_at",
        "hours",
        "price_hourly",
        "amount",
    )


@admin.register(Invoice)
class InvoiceAdmin(ReadOnlyAdmin):
    list_display = ("id", "account", "month", "issued_at", "subtotal", "tax", "total")
    list_filter = (("month", admin.RelatedFieldListFilter),)
    list_select_related = ("account", "month")
    search_fields = ("account__name",)
    search_help_text = _("Account")
    inlines = (ItemInline,)
