"""Staff pages for what is sold: plans and images."""

from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline

from instances.actions.images import save_image
from instances.models import HostImage, Image, Plan, RegionPrice
from inventory.admin.read_only import ReadOnlyAdmin


class RegionPriceInline(TabularInline):
    model = RegionPrice
    extra = 0


@admin.register(Plan)
class PlanAdmin(ModelAdmin):
    inlines = (RegionPriceInline,)
    list_display = (
        "slug",
        "label",
        "cards",
        "gpu_model",
        "vcpus",
        "memory_mib",
        "price_hourly",
        "flag_name",
        "is_sold",
    )
    list_filter = ("is_sold", "plan_class", "gpu_model")
    list_select_related = ("gpu_model",)
    search_fields = ("slug", "label")


@admin.register(Image)
class ImageAdmin(ModelAdmin):
    list_display = ("slug", "label", "vendor", "status", "is_offered", "size_mib")
    list_filter = ("status", "vendor")
    search_fields = ("slug", "label")
    readonly_fields = ("status", "problem", "file_bytes", "virtual_bytes")

    def save_model(
        self, request: HttpRequest, obj: Image, form: ModelForm, change: bool
    ) -> None:
        save_image(obj)


@admin.register(HostImage)
class HostImageAdmin(ReadOnlyAdmin):
    list_display = ("digest", "host", "volume", "verified_at", "lease_expires_at")
    list_filter = ("host",)
    list_select_related = ("host",)
    search_fields = ("digest", "host__name")
