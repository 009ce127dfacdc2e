"""Staff pages for regions and for the PCI ids that are cards for sale."""

from django.contrib import admin
from unfold.admin import ModelAdmin, TabularInline

from inventory.models import GpuModel, PciId, Region


@admin.register(Region)
class RegionAdmin(ModelAdmin):
    list_display = ("slug", "label", "country", "is_open", "flag_name")
    list_filter = ("is_open",)
    search_fields = ("slug", "label")


class PciIdInline(TabularInline):
    model = PciId
    extra = 0


@admin.register(GpuModel)
class GpuModelAdmin(ModelAdmin):
    list_display = ("slug", "name", "memory_mib", "flag_name")
    search_fields = ("slug", "name", "pci_ids__pci_id")
    inlines = (PciIdInline,)
