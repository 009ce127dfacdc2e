"""The page on which staff check a host: one row for each thing, and its remedy."""

import time
from typing import Any

from django import forms
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminTextInputWidget

from inventory.host_check import check_host
from inventory.preflight import CheckLine, Verdict


class HostAddressForm(forms.Form):
    uri = forms.CharField(
        label=gettext_lazy("libvirt URI"),
        max_length=255,
        widget=UnfoldAdminTextInputWidget(
            attrs={"placeholder": "qemu+tls://HOST/system"}
        ),
        help_text=gettext_lazy("How this control plane reaches the host's libvirt."),
    )


_WORDS = {
    Verdict.PASS: gettext_lazy("✓ pass"),
    Verdict.WARN: gettext_lazy("! warning"),
    Verdict.FAIL: gettext_lazy("✗ fail"),
}


def check_page(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Show the form; on POST ask the host, which may take as long as its deadlines."""
    is_asked = request.method == "POST"
    form = HostAddressForm(
        request.POST if is_asked else None, initial=request.GET.dict()
    )
    lines: list[CheckLine] = []
    started = time.monotonic()
    if is_asked and form.is_valid():
        lines = check_host(form.cleaned_data["uri"])
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": _("Check a host"),
        "form": form,
        "took_s": time.monotonic() - started,
        "rows": [{"line": line, "word": _WORDS[line.verdict]} for line in lines],
        "summary": [
            {"word": word, "count": sum(line.verdict is verdict for line in lines)}
            for verdict, word in _WORDS.items()
        ],
    }
    return TemplateResponse(request, "admin/inventory/host/check.html", context)
