"""What all action dialogs share: who did it and why, and where the page goes next."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext_lazy as _
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from inventory.ledger import Actor


class ReasonForm(BaseDialogForm):
    """Asks why, and insists."""

    reason = forms.CharField(
        max_length=400,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text=_("Kept for ever, and shown to whoever looks at this next."),
        label=_("Reason"),
    )


def staff_actor(request: HttpRequest) -> str:
    """Return the person as ledger and jobs name them: user:NAME."""
    return f"user:{request.user.get_username()}"


def actor_with_reason(request: HttpRequest, form: forms.Form) -> Actor:
    return Actor(staff_actor(request), form.cleaned_data["reason"])


def object_or_404(
    model_admin: "ModelAdmin[Any]", request: HttpRequest, object_id: str
) -> Any:
    """Return the row that the dialog is about; its id is whatever the address says."""
    row = model_admin.get_object(request, object_id)
    if row is None:
        raise Http404
    return row


def leave_dialog(
    request: HttpRequest, url: str, *, done: str = "", refused: str = ""
) -> HttpResponse:
    """Close the dialog by going to `url`, with a message there."""
    if refused:
        messages.error(request, refused)
    elif done:
        messages.success(request, done)
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": url})
    return redirect(url)
