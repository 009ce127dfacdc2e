"""The page on which staff enrol a host: a form, its refusals, and what was found."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from inventory.admin.check_page import HostAddressForm
from inventory.admin.dialogs import staff_actor
from inventory.enrolment import EnrolmentOrder, EnrolmentReport, enrol
from inventory.exceptions import EnrolmentRefused, HostUnreachable, HypervisorError
from inventory.models import Region
from inventory.preflight import way_to

# A dataclass with slots keeps no defaults on the class.
_DEFAULTS = EnrolmentOrder(uri="", region="")


class EnrolForm(HostAddressForm):
    region = forms.ModelChoiceField(
        Region.objects.all(),
        to_field_name="slug",
        empty_label=None,
        widget=UnfoldAdminSelectWidget(),
        label=gettext_lazy("Region"),
    )
    name = forms.SlugField(
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text=gettext_lazy("Empty: gpu- and the first digits of its UUID."),
        label=gettext_lazy("Name"),
    )
    reserved_cores = forms.IntegerField(
        label=gettext_lazy("Cores kept for the host, per NUMA node"),
        min_value=0,
        initial=_DEFAULTS.reserved_cores,
        widget=UnfoldAdminIntegerFieldWidget(),
    )
    reserved_memory_mib = forms.IntegerField(
        label=gettext_lazy("Memory kept for the host, MiB per NUMA node"),
        min_value=0,
        initial=_DEFAULTS.reserved_memory_mib,
        widget=UnfoldAdminIntegerFieldWidget(),
    )

    is_plain = forms.BooleanField(
        label=gettext_lazy("A plain host, without cards"),
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text=gettext_lazy("For plans without cards. Such a host needs no IOMMU."),
    )

    def order(self) -> EnrolmentOrder:
        data = self.cleaned_data
        return EnrolmentOrder(
            uri=data["uri"],
            region=data["region"].slug,
            name=data["name"],
            is_plain=data["is_plain"],
            reserved_cores=data["reserved_cores"],
            reserved_memory_mib=data["reserved_memory_mib"],
        )


def enrol_page(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Show the form; on POST ask the host, which may take as long as its deadlines."""
    form = EnrolForm(request.POST or None)
    problems: list[str] = []
    if request.method == "POST" and form.is_valid():
        order = form.order()
        try:
            report = enrol(order, staff_actor(request))
        except EnrolmentRefused as error:
            problems = error.problems
        except HostUnreachable as error:
            problems = [
                _("%(uri)s does not answer: %(error)s")
                % {"uri": order.uri, "error": error},
                way_to(order.uri),
            ]
        except HypervisorError as error:
            problems = [str(error)]
        else:
            return _welcome(request, report)
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": _("Enrol a host"),
        "form": form,
        "problems": problems,
    }
    return TemplateResponse(request, "admin/inventory/host/enrol.html", context)


def _welcome(request: HttpRequest, report: EnrolmentReport) -> HttpResponse:
    host, new = report.host, len(report.new_cards)
    cards = ngettext("%(count)s new card", "%(count)s new cards", new) % {"count": new}
    nodes = host.nodes.count()
    in_all = ngettext(
        "%(cards)s in all on %(nodes)s NUMA node",
        "%(cards)s in all on %(nodes)s NUMA nodes",
        nodes,
    ) % {"cards": host.cards.count(), "nodes": nodes}
    told = (
        _("%(host)s is enrolled: %(new)s, %(in_all)s.")
        if report.is_new
        else _("%(host)s was enrolled already: %(new)s, %(in_all)s.")
    )
    messages.success(request, told % {"host": host, "new": cards, "in_all": in_all})
    for reason in report.not_for_sale:
        messages.warning(request, _("Not for sale: %(reason)s") % {"reason": reason})
    return redirect("admin:inventory_host_change", host.pk)
