"""Staff pages for hosts: what they are made of, and what people decide about them."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from inventory.admin.check_page import check_page
from inventory.admin.colours import coloured
from inventory.admin.dialogs import object_or_404
from inventory.admin.enrol_page import enrol_page
from inventory.admin.host_decisions import HostDecisions
from inventory.admin.host_page import host_page
from inventory.admin.read_only import ReadOnlyAdmin
from inventory.choices import GONE_CONDITIONS, HostConnection, HostPolicy
from inventory.models import Card, Host

CONNECTION_COLOURS = {
    HostConnection.OK: "success",
    HostConnection.STALE: "warning",
    HostConnection.UNKNOWN: "danger",
}
POLICY_COLOURS = {
    HostPolicy.IN_SERVICE: "success",
    HostPolicy.NO_PROVISION: "warning",
    HostPolicy.DRAINING: "warning",
    HostPolicy.MAINTENANCE: "info",
}


def _number_of(cards: QuerySet[Card]) -> Coalesce:
    """Return how many of `cards` a host has; counted for the hosts of a page alone."""
    of_host = cards.filter(host=OuterRef("pk")).order_by().values("host")
    return Coalesce(Subquery(of_host.annotate(n=Count("pk")).values("n")), 0)


@admin.register(Host)
class HostAdmin(HostDecisions, ReadOnlyAdmin):
    list_display = (
        "name",
        "region",
        "shown_policy",
        "shown_connection",
        "last_seen_at",
        "cards_total",
        "cards_used",
    )
    list_filter = (
        ("region", admin.RelatedFieldListFilter),
        "policy",
        "connection",
    )
    list_select_related = ("region",)
    search_fields = ("name", "libvirt_uri", "host_uuid")
    search_help_text = _("Name, URI or UUID")
    list_per_page = 50
    change_form_template = "admin/inventory/host/page.html"
    list_before_template = "admin/inventory/host/no_hosts.html"
    fields = (
        ("name", "region"),
        ("policy", "connection"),
        ("policy_changed_at", "policy_reason"),
        ("last_seen_at", "enrolled_at"),
        ("libvirt_uri", "domain_type"),
        "host_uuid",
    )
    actions_list = ("enrol", "check_host")
    actions_detail = (
        "check_this_host",
        "put_in_service",
        "stop_provisioning",
        "drain",
        "maintain",
        "retire_host",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Host]:
        hosts: QuerySet[Host] = super().get_queryset(request)
        owned = Card.objects.exclude(condition__in=GONE_CONDITIONS)
        held = owned.filter(claims__isnull=False, claims__released_at=None)
        return hosts.annotate(total=_number_of(owned), used=_number_of(held))

    def add_view(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
        return redirect("admin:inventory_host_enrol")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {**(extra_context or {}), **host_page(request, object_id)}
        return super().change_view(request, object_id, form_url, context)

    @display(
        description=_("policy"),
        ordering="policy",
        label=coloured(HostPolicy, POLICY_COLOURS),
    )
    def shown_policy(self, host: Host) -> tuple[str, str]:
        return host.policy, host.get_policy_display()

    @display(
        description=_("connection"),
        ordering="connection",
        label=coloured(HostConnection, CONNECTION_COLOURS),
    )
    def shown_connection(self, host: Host) -> tuple[str, str]:
        return host.connection, host.get_connection_display()

    @display(description=_("cards"), ordering="total")
    def cards_total(self, host: Any) -> int:
        return int(host.total)

    @display(description=_("used"), ordering="used")
    def cards_used(self, host: Any) -> int:
        return int(host.used)

    def has_enrol_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return request.user.has_perm("inventory.add_host")

    @action(
        description=_("Enrol a host"),
        icon="add",
        variant=ActionVariant.PRIMARY,
        url_path="enrol",
        permissions=["enrol"],
        attrs={"aria-label": _("Enrol a host")},
    )
    def enrol(self, request: HttpRequest) -> HttpResponse:
        return enrol_page(self.admin_site, request)

    @action(
        description=_("Check a host"),
        icon="fact_check",
        url_path="check",
        permissions=["enrol"],
        attrs={"aria-label": _("Check a host")},
    )
    def check_host(self, request: HttpRequest) -> HttpResponse:
        return check_page(self.admin_site, request)

    @action(
        description=_("Check"),
        icon="fact_check",
        url_path="check",
        permissions=["enrol"],
        attrs={"aria-label": _("Check this host")},
    )
    def check_this_host(self, request: HttpRequest, object_id: str) -> HttpResponse:
        host = object_or_404(self, request, object_id)
        query = urlencode({"uri": host.libvirt_uri})
        return redirect(f"{reverse('admin:inventory_host_check_host')}?{query}")
