"""The page that shows free cards of no use, and what a change to the fleet would sell."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from instances.models import Plan
from instances.stranded import stranded_cards
from instances.what_if import InvalidWhatIf, Outcome, WhatIf, plan_of, what_if
from inventory.ledger_audit import read_one_moment
from inventory.models import Region

PERMISSIONS = ("inventory.view_host", "inventory.view_card", "instances.view_plan")


def _text(**texts: Any) -> forms.CharField:
    return forms.CharField(required=False, widget=UnfoldAdminTextInputWidget(), **texts)


class WhatIfForm(forms.Form):
    """Names follow WhatIf's fields."""

    region = forms.ModelChoiceField(
        Region.objects.all(),
        to_field_name="slug",
        empty_label=None,
        widget=UnfoldAdminSelectWidget(),
        label=gettext_lazy("Region"),
    )
    add_hosts = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=100_000,
        widget=UnfoldAdminTextInputWidget(),
        help_text=gettext_lazy("How many hosts more."),
        label=gettext_lazy("Add hosts"),
    )
    like = _text(
        label=gettext_lazy("Like"),
        help_text=gettext_lazy("The host that they are like, by name."),
    )
    drain = _text(
        label=gettext_lazy("Drain"),
        help_text=gettext_lazy("Hosts to drain, by name, with spaces between them."),
    )
    quarantine = _text(
        label=gettext_lazy("Quarantine"),
        help_text=gettext_lazy("Cards to quarantine, by id, with spaces between them."),
    )
    plan = _text(
        label=gettext_lazy("Plan"),
        help_text=gettext_lazy(
            "A new plan: cards=2 gpu_model=rtx6000 vcpus=8 memory_mib=65536"
        ),
    )

    def clean_quarantine(self) -> tuple[int, ...]:
        words = self.cleaned_data["quarantine"].split()
        if not all(word.isdecimal() for word in words):
            raise forms.ValidationError(_("Write the ids of cards, such as 17 18."))
        return tuple(map(int, words))

    def asked(self) -> WhatIf:
        """Return what valid data ask. Raises InvalidWhatIf."""
        data = self.cleaned_data
        return WhatIf(
            add_hosts=data["add_hosts"] or 0,
            like=data["like"],
            drain=tuple(data["drain"].split()),
            quarantine=data["quarantine"],
            plan=plan_of(data["plan"]) if data["plan"] else None,
        )


def regions_by_size() -> list[Region]:
    """Return the regions, first the one with most hosts: one without has nothing to show."""
    return list(Region.objects.annotate(size=Count("hosts")).order_by("-size", "pk"))


def capacity_page(request: HttpRequest) -> HttpResponse:
    """Show the page; what is asked stands in the address, so nothing is ever written."""
    if not request.user.has_perms(PERMISSIONS):
        raise PermissionDenied
    given = request.GET.dict()
    for region in regions_by_size()[:1]:
        given.setdefault("region", region.slug)
    form = WhatIfForm(given)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": _("Capacity"),
        "form": form,
    }
    if form.is_valid():
        with transaction.atomic():
            read_one_moment()
            plans = list(Plan.objects.filter(is_sold=True).select_related("gpu_model"))
            region = form.cleaned_data["region"]
            context["report"] = stranded_cards(region, plans)
            context["rows"] = _rows(form, region, plans)
    return TemplateResponse(request, "admin/capacity.html", context)


def _rows(form: WhatIfForm, region: Region, plans: list[Plan]) -> list[Outcome]:
    try:
        return what_if(region, plans, form.asked())
    except InvalidWhatIf as error:
        form.add_error(error.field, str(error))
        return []
