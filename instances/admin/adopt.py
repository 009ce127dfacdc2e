"""The dialogs by which a permitted person decides about a guest that the rows do not know."""

from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from instances import tasks
from instances.actions.adopt import AdoptOrder, adopt
from instances.actions.shut_lost_guest import ShutOrder, shut_lost_guest
from instances.exceptions import InstancesError
from instances.models import Account
from inventory.admin.dialogs import ReasonForm, leave_dialog, staff_actor
from inventory.choices import DiscrepancyKind
from inventory.models import Discrepancy

_ADOPTED = (
    DiscrepancyKind.UNKNOWN_GUEST,
    DiscrepancyKind.GUEST_CHANGED,
    # Of a launch whose end was lost.
    DiscrepancyKind.CLAIM_UNUSED,
)


class AdoptForm(ReasonForm):
    account = forms.CharField(
        max_length=128,
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text=_("Its name; needed only if the guest's own account was lost."),
    )

    def clean_account(self) -> Account | None:
        name = self.cleaned_data["account"].strip()
        if not name:
            return None
        account = Account.objects.filter(name=name).first()
        if account is None:
            raise forms.ValidationError(_("There is no account of this name."))
        return account


class ShutForm(ReasonForm):
    deletes_disk = forms.BooleanField(
        label=_("Delete its disk, too"),
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text=_("If not, the disk stays on the host under the guest's UUID."),
    )


ADOPT: dict[str, Any] = {
    "description": _("Adopt the guest"),
    "icon": "family_restroom",
    "variant": ActionVariant.PRIMARY,
    "permissions": ["adopt"],
    "attrs": {"aria-label": _("Adopt the guest that the rows do not know")},
    "dialog": {
        "title": _("Adopt the guest that the rows do not know?"),
        "description": _(
            "The host is asked for it once more. Then its account has its instance again, "
            "with all that the guest has, and is billed from now on. The guest runs on "
            "untouched."
        ),
        "form_class": AdoptForm,
        "form_submit_text": _("Adopt"),
    },
}
SHUT: dict[str, Any] = {
    "description": _("Shut the guest"),
    "icon": "power_off",
    "variant": ActionVariant.DANGER,
    "permissions": ["shut_guest"],
    "attrs": {"aria-label": _("Shut and remove the guest that the rows do not know")},
    "dialog": {
        "title": _("Shut and remove the guest that the rows do not know?"),
        "description": _(
            "Its plug is pulled and its host forgets it. A customer may be using it. Its "
            "cards are scrubbed before they are sold."
        ),
        "form_class": ShutForm,
        "form_submit_text": _("Shut and remove"),
        "submit_variant": "danger",
    },
}


def may_be_adopted(row: Discrepancy) -> bool:
    return row.kind in _ADOPTED


def may_be_shut(row: Discrepancy) -> bool:
    return row.kind == DiscrepancyKind.UNKNOWN_GUEST


def adopt_dialog(
    admin: Any, request: HttpRequest, form: AdoptForm, row: Discrepancy, url: str
) -> HttpResponse:
    """Adopt the guest that `row` is about, and go to its instance's page."""
    if not may_be_adopted(row):
        return leave_dialog(request, url, refused=str(_("It is about no such guest.")))
    reason = form.cleaned_data["reason"]
    order = AdoptOrder(
        row.host_id,
        UUID(row.subject),
        staff_actor(request),
        reason,
        form.cleaned_data["account"],
    )
    try:
        instance = adopt(order)
    except InstancesError as error:
        return leave_dialog(request, url, refused=str(error))
    admin.log_change(request, row, f"{instance} adopted. {reason}")
    tasks.reconcile_host(row.host_id)
    to = reverse("admin:instances_instance_change", args=[instance.pk])
    return leave_dialog(
        request, to, done=str(_("Adopted, and billed from now on: %s")) % instance
    )


def shut_dialog(
    admin: Any, request: HttpRequest, form: ShutForm, row: Discrepancy, url: str
) -> HttpResponse:
    """Shut and remove the guest that `row` is about."""
    if not may_be_shut(row):
        return leave_dialog(request, url, refused=str(_("It is about no such guest.")))
    deletes_disk = form.cleaned_data["deletes_disk"]
    try:
        shut_lost_guest(ShutOrder(row.host_id, UUID(row.subject), deletes_disk))
    except InstancesError as error:
        return leave_dialog(request, url, refused=str(error))
    disk = "deleted" if deletes_disk else "kept"
    told = f"Guest {row.subject} shut and removed, its disk {disk}."
    admin.log_change(request, row, f"{told} {form.cleaned_data['reason']}")
    tasks.reconcile_host(row.host_id)
    return leave_dialog(request, url, done=str(_("The guest is gone from its host.")))
