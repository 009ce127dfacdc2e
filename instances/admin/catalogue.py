"""Staff pages for what is sold: plans and images."""

from django.contrib import admin
from unfold.admin import ModelAdmin

from instances.models import Image, Plan


@admin.register(Plan)
class PlanAdmin(ModelAdmin):
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
    list_display = ("slug", "label", "vendor", "status", "position")
    list_filter = ("status", "vendor")
    search_fields = ("slug", "label")
