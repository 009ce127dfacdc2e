"""Staff pages for what hosts have for their guests: storage, network, addresses."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from inventory.admin.read_only import ReadOnlyAdmin
from inventory.models import AddressClaim, AddressPool, GuestSetup


@admin.register(GuestSetup)
class GuestSetupAdmin(ModelAdmin):
    list_display = (
        "host",
        "image_pool",
        "disk_pool",
        "network_kind",
        "network_name",
        "wipes_disks",
    )
    list_select_related = ("host",)
    search_fields = ("host__name",)


@admin.register(AddressPool)
class AddressPoolAdmin(ModelAdmin):
    list_display = ("name", "region", "host", "network", "first", "last", "gateway")
    list_filter = ("region",)
    list_select_related = ("region", "host")
    search_fields = ("name",)


@admin.register(AddressClaim)
class AddressClaimAdmin(ReadOnlyAdmin):
    list_display = ("address", "pool", "consumer", "claimed_at", "released_at")
    list_filter = ("pool",)
    list_select_related = ("pool",)
    search_fields = ("address", "consumer")
    search_help_text = _("Address, or UUID of an instance")
