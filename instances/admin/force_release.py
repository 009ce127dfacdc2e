"""The dialog by which a permitted person has the claims of a lost machine released."""

from typing import Any
from uuid import UUID

from django import forms
from django.db.models import Exists, Q
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextInputWidget

from instances.actions.force_release import ReleaseOrder, force_release
from instances.exceptions import InstancesError
from inventory.admin.dialogs import ReasonForm, leave_dialog, staff_actor
from inventory.choices import DiscrepancyKind, HostPolicy
from inventory.models import Discrepancy, NodeClaim
from inventory.snapshots import is_answering

PERMISSION = "inventory.force_release"
_SIGNS = (DiscrepancyKind.DOMAIN_MISSING, DiscrepancyKind.CLAIM_UNUSED)


class ForceReleaseForm(ReasonForm):
    """Asks for the proof, too; whether it is needed is known once the host was asked."""

    # Both go into one line of the ledger.
    reason = forms.CharField(
        max_length=180,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy(
            "Kept for ever, and shown to whoever looks at this next."
        ),
        label=gettext_lazy("Reason"),
    )
    proof = forms.CharField(
        label=gettext_lazy("Proof that it no longer runs"),
        max_length=180,
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy(
            "Needed if the host does not answer; such as: host switched off, its "
            "disks destroyed."
        ),
    )


FORCE_RELEASE: dict[str, Any] = {
    "description": gettext_lazy("Force release"),
    "icon": "lock_open",
    "variant": ActionVariant.DANGER,
    "permissions": ["force_release"],
    "attrs": {
        "aria-label": gettext_lazy("Force the release of what a lost machine holds")
    },
    "dialog": {
        "title": gettext_lazy("Force the release of what a lost machine holds?"),
        "description": gettext_lazy(
            "The host is asked first: while it has the domain, nothing is released. If it "
            "does not answer, it must be in maintenance, and your proof counts. The "
            "instance ends, and its cards are scrubbed before they are sold."
        ),
        "form_class": ForceReleaseForm,
        "form_submit_text": gettext_lazy("Force release"),
        "submit_variant": "danger",
    },
}


def may_force_release(request: HttpRequest, consumer: UUID | None) -> bool:
    """Say whether to offer it: something is held, and there is a sign that its machine is gone.

    What was sent is judged by the action, which says why it refuses.
    """
    if not request.user.has_perm(PERMISSION):
        return False
    if request.method == "POST":
        return True
    if consumer is None:
        return False
    held = NodeClaim.objects.filter(consumer=consumer, released_at=None)
    missed = Discrepancy.objects.filter(
        consumer=consumer, kind__in=_SIGNS, resolved_at=None
    )
    lost = ~is_answering("numa_node__host__") | Q(
        numa_node__host__policy=HostPolicy.MAINTENANCE
    )
    return held.filter(lost | Q(Exists(missed))).exists()


def force_release_dialog(
    admin: Any,
    request: HttpRequest,
    form: ForceReleaseForm,
    row: Any,
    consumer: UUID | None,
    to: str,
) -> HttpResponse:
    """Release the consumer's claims, log that at `row`'s page, and go to `to`.

    Blocks on the host up to the driver's deadlines.
    """
    if consumer is None:
        return leave_dialog(
            request, to, refused=_("%(row)s is about no claim.") % {"row": row}
        )
    order = ReleaseOrder(
        consumer,
        staff_actor(request),
        request.user.get_username(),
        form.cleaned_data["reason"],
        form.cleaned_data["proof"],
    )
    try:
        force_release(order)
    except InstancesError as error:
        return leave_dialog(request, to, refused=str(error))
    told = "; ".join(filter(None, (order.reason, order.proof)))
    admin.log_change(request, row, f"Claims of {consumer} released by force. {told}")
    return leave_dialog(
        request, to, done=_("Released. Its cards are scrubbed before they are sold.")
    )
