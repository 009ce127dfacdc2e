"""Staff pages of the placement groups, to read: which machine of whose is on which host."""

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from instances.models import PlacementGroup, PlacementMember
from instances.placement_groups import members
from inventory.admin.read_only import ReadOnlyAdmin, ReadOnlyInline


class MemberInline(ReadOnlyInline):
    model = PlacementMember
    fields = ("instance", "host", "is_compliant", "created_at")
    readonly_fields = ("is_compliant", "created_at")
    verbose_name_plural = _("members")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PlacementMember]:
        return members().select_related("instance", "host")

    @display(description=_("compliant"), boolean=True)
    def is_compliant(self, member: PlacementMember) -> bool:
        return bool(getattr(member, "is_compliant", False))


@admin.register(PlacementGroup)
class PlacementGroupAdmin(ReadOnlyAdmin):
    list_display = ("label", "account", "region", "policy", "size", "created_at")
    list_filter = ("policy", ("region", admin.RelatedFieldListFilter))
    list_select_related = ("account", "region")
    search_fields = ("label", "account__name")
    search_help_text = _("Label or account")
    inlines = (MemberInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[PlacementGroup]:
        groups: QuerySet[PlacementGroup] = super().get_queryset(request)
        return groups.annotate(size=Count("members"))

    @display(description=_("members"), ordering="size")
    def size(self, group: PlacementGroup) -> int:
        return int(getattr(group, "size", 0))
