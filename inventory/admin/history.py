"""Staff pages for what is history as soon as it is written: claims and the ledger."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display
from unfold.views import ChangeList

from inventory.admin.holders import HolderChangeList, holder_link
from inventory.admin.read_only import ReadOnlyAdmin
from inventory.models import CardClaim, CardEvent, NodeClaim


class OpenFilter(admin.SimpleListFilter):
    title = gettext_lazy("held")
    parameter_name = "held"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("now", _("now")), ("ended", _("in the past"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(released_at__isnull=self.value() == "now")


class _HeldAdmin(ReadOnlyAdmin):
    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return HolderChangeList

    @display(description=gettext_lazy("holder"))
    def holder(self, row: Any) -> str:
        return holder_link(row)


@admin.register(CardClaim)
class CardClaimAdmin(_HeldAdmin):
    list_display = (
        "card",
        "holder",
        "claim_set",
        "is_hold",
        "claimed_at",
        "released_at",
    )
    list_filter = (
        OpenFilter,
        "is_hold",
        ("card__host__region", admin.RelatedFieldListFilter),
    )
    list_select_related = ("card__host",)
    search_fields = ("card__host__name", "card__slot_path", "consumer")
    search_help_text = gettext_lazy("Host, PCI slot or the holder's UUID")


@admin.register(NodeClaim)
class NodeClaimAdmin(_HeldAdmin):
    list_display = (
        "numa_node",
        "holder",
        "claim_set",
        "vcpus",
        "cpus",
        "memory_mib",
        "claimed_at",
        "released_at",
    )
    list_filter = (
        OpenFilter,
        ("numa_node__host__region", admin.RelatedFieldListFilter),
    )
    list_select_related = ("numa_node__host",)
    search_fields = ("numa_node__host__name", "consumer")
    search_help_text = gettext_lazy("Host or the holder's UUID")


@admin.register(CardEvent)
class CardEventAdmin(_HeldAdmin):
    list_display = (
        "at",
        "card",
        "kind",
        "conditions",
        "holder",
        "reason",
        "actor",
    )
    list_filter = ("kind", "to_condition")
    list_select_related = ("card__host",)
    search_fields = ("card__host__name", "card__slot_path", "actor", "reason")
    search_help_text = gettext_lazy("Host, PCI slot, actor or reason")

    @display(description=gettext_lazy("condition"))
    def conditions(self, event: CardEvent) -> str:
        after = event.get_to_condition_display()
        if event.from_condition in {"", event.to_condition}:
            return after
        return f"{event.get_from_condition_display()} → {after}"
