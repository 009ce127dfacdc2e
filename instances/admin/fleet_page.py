"""The map of the fleet: hosts, NUMA nodes and cards, one region and page at a time."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from instances.admin.capacity_page import regions_by_size
from instances.fleet_map import MapCard, MapHost, fleet_map
from instances.fleet_owners import Owner
from instances.models import Plan
from inventory.card_states import CardState, in_state
from inventory.choices import CardCondition, HostPolicy
from inventory.ledger_audit import read_one_moment
from inventory.models import Card, GpuModel, Host, Region

PERMISSIONS = ("inventory.view_host", "inventory.view_card")
HOSTS_A_PAGE = 50
_OWNER_COLOURS = 8
# Read without colour: a symbol for each state.
SYMBOLS = {
    CardState.USED: "■",
    CardState.FREE: "□",
    CardState.CLEANING: "◐",
    CardState.BROKEN: "✗",
    CardState.UNKNOWN: "?",
}
_BY_STATE, _BY_OWNER = "state", "owner"


class FleetForm(forms.Form):
    """regions: those to choose from, not empty; what is chosen is looked up among them."""

    region = forms.ChoiceField(
        widget=UnfoldAdminSelectWidget(),
        label=gettext_lazy("Region"),
    )
    model = forms.ChoiceField(
        required=False,
        label=gettext_lazy("With a card of model"),
        widget=UnfoldAdminSelectWidget(),
    )
    state = forms.ChoiceField(
        choices=[
            ("", gettext_lazy("any")),
            *((state, state.label) for state in SYMBOLS),
        ],
        required=False,
        label=gettext_lazy("With a card that is"),
        widget=UnfoldAdminSelectWidget(),
    )
    host = forms.CharField(
        required=False,
        max_length=50,
        label=gettext_lazy("Host's name has"),
        widget=UnfoldAdminTextInputWidget(),
    )
    colour = forms.ChoiceField(
        choices=[
            (_BY_STATE, gettext_lazy("state")),
            (_BY_OWNER, gettext_lazy("owner")),
        ],
        required=False,
        label=gettext_lazy("Show by"),
        widget=UnfoldAdminSelectWidget(),
    )

    def __init__(self, regions: Iterable[Region], data: dict[str, str]) -> None:
        super().__init__(data)
        self._regions = {region.slug: region for region in regions}
        models = GpuModel.objects.values_list("slug", "name")
        self._offer("region", sorted((s, str(r)) for s, r in self._regions.items()))
        self._offer("model", [("", _("any")), *models])

    def _offer(self, name: str, options: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101
        field.choices = options

    @property
    def chosen_region(self) -> Region:
        """The one that valid data ask for."""
        return self._regions[self.cleaned_data["region"]]

    def hosts(self) -> QuerySet[Host]:
        """Return the hosts that valid data ask for, by name."""
        data = self.cleaned_data
        hosts = Host.objects.filter(region=self.chosen_region).exclude(
            policy=HostPolicy.RETIRED
        )
        if data["host"]:
            hosts = hosts.filter(name__icontains=data["host"])
        cards = Card.objects.filter(host__region=self.chosen_region)
        state = CardState(data["state"] or CardState.FLEET)
        if data["model"]:
            cards = cards.filter(gpu_model__slug=data["model"])
        if data["model"] or data["state"]:
            hosts = hosts.filter(
                pk__in=in_state(cards, state).order_by().values("host")
            )
        return hosts.order_by("name")


@dataclass(frozen=True, slots=True)
class Cell:
    """How a card is shown. mark: a symbol or letters; text: all of it in words."""

    id: int
    mark: str
    style: str
    text: str


def fleet_page(request: HttpRequest) -> HttpResponse:
    """Show the page; what is asked stands in the address."""
    if not request.user.has_perms(PERMISSIONS):
        raise PermissionDenied
    given = request.GET.dict()
    regions = regions_by_size()
    for region in regions[:1]:
        given.setdefault("region", region.slug)
    given.setdefault("colour", _BY_STATE)
    form = FleetForm(regions, given)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": _("Fleet map"),
        "form": form,
        "symbols": [(SYMBOLS[state], state.label, state) for state in SYMBOLS],
        "query": urlencode({k: v for k, v in given.items() if k != "page"}),
    }
    if form.is_valid():
        with transaction.atomic():
            read_one_moment()
            page = Paginator(form.hosts(), HOSTS_A_PAGE).get_page(given.get("page"))
            plans = Plan.objects.filter(is_sold=True).select_related("gpu_model")
            rows = fleet_map(form.chosen_region, list(page.object_list), plans)
        # Who a customer is shows only to those who may see accounts.
        names = request.user.has_perm("instances.view_account")
        by_owner = names and form.cleaned_data["colour"] == _BY_OWNER
        context["page"] = page
        context["rows"] = [_shown(row, names, by_owner) for row in rows]
        context["node_columns"] = max((len(row.nodes) for row in rows), default=1)
    return TemplateResponse(request, "admin/fleet.html", context)


def _shown(row: MapHost, names: bool, by_owner: bool) -> dict[str, Any]:
    return {
        "host": row.host,
        "closed": row.closed,
        "nodes": [
            {
                "number": node.number,
                "cells": [_cell(card, names, by_owner) for card in node.cards],
                "cores": _("%(free)s of %(cores)s")
                % {"free": node.cores_free, "cores": node.cores},
                "memory": _("%(free)s of %(memory)s GiB")
                % {
                    "free": _gib(node.memory_free_mib),
                    "memory": _gib(node.memory_mib),
                },
                "stranded": node.stranded,
            }
            for node in row.nodes
        ],
    }


def _gib(mib: int) -> str:
    return f"{mib / 1024:.1f}".removesuffix(".0")


def _cell_text(card: MapCard, state: CardState, owner: Owner | None) -> str:
    told = {"card": card.model, "slot": card.slot_path, "state": state.label}
    if state is CardState.USED and owner:
        return _("%(card)s in %(slot)s: %(state)s by %(instance)s of %(account)s") % {
            **told,
            "instance": owner.instance,
            "account": owner.account,
        }
    if state is CardState.FREE:
        return _("%(card)s in %(slot)s: %(state)s") % told
    condition = CardCondition(card.condition).label
    return _("%(card)s in %(slot)s: %(state)s (%(condition)s)") % {
        **told,
        "condition": condition,
    }


def _cell(card: MapCard, names: bool, by_owner: bool) -> Cell:
    state = CardState(card.state)
    text = _cell_text(card, state, card.owner if names else None)
    style = f"gc-card-{state}"
    mark = SYMBOLS[state]
    if by_owner and card.owner:
        style = f"gc-owner gc-owner-{card.owner.account_id % _OWNER_COLOURS}"
        mark = card.owner.account[:3]
    return Cell(card.id, mark, style, text)
