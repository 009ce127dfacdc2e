"""What staff decide about a host, as dialogs that ask why: its policy, from use to retired."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action
from unfold.enums import ActionVariant

from inventory.admin.dialogs import (
    ReasonForm,
    actor_with_reason,
    leave_dialog,
    object_or_404,
)
from inventory.choices import HostPolicy
from inventory.exceptions import InventoryError
from inventory.host_policy import set_policy

P = HostPolicy


def _decision(
    name: str,
    policy: HostPolicy,
    button: Promise,
    icon: str,
    title: Promise,
    effect: Promise,
) -> Any:
    """Return the action by which staff set `policy`."""
    is_final = policy is P.RETIRED

    def decide(
        admin: Any, request: HttpRequest, form: ReasonForm, object_id: str
    ) -> HttpResponse:
        host = object_or_404(admin, request, object_id)
        url = reverse("admin:inventory_host_change", args=[host.pk])
        try:
            host = set_policy(host.pk, policy, actor_with_reason(request, form))
        except InventoryError as error:
            return leave_dialog(request, url, refused=str(error))
        # Kept, so in no reader's language.
        told = f"Policy: {policy.value}. {form.cleaned_data['reason']}"
        admin.log_change(request, host, told)
        return leave_dialog(request, url, done=f"{host}: {policy.label}.")

    decide.__name__ = name
    return action(
        description=button,
        icon=icon,
        variant=ActionVariant.DANGER if is_final else ActionVariant.DEFAULT,
        permissions=[name],
        attrs={"aria-label": title},
        dialog={
            "title": title,
            "description": effect,
            "form_class": ReasonForm,
            "form_submit_text": button,
            **({"submit_variant": "danger"} if is_final else {}),
        },
    )(decide)


def _offered_to(policies: set[HostPolicy]) -> Any:
    """Return the permission method of an action that shows to hosts of such a policy."""

    def has_permission(
        admin: Any, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        if not request.user.has_perm("inventory.change_host"):
            return False
        # What was sent is judged by the action, which says why it refuses.
        if request.method == "POST":
            return True
        return object_or_404(admin, request, object_id or "").policy in policies

    return has_permission


class HostDecisions:
    """Mixed into the host's ModelAdmin; it offers what would change something."""

    put_in_service = _decision(
        "put_in_service",
        P.IN_SERVICE,
        _("In service"),
        "play_circle",
        _("Put this host in service"),
        _("New instances may go there once it was compared with the rows about it."),
    )
    stop_provisioning = _decision(
        "stop_provisioning",
        P.NO_PROVISION,
        _("No new instances"),
        "pause_circle",
        _("Send no new instances to this host"),
        _("What runs there goes on. Its free cards are not sold."),
    )
    drain = _decision(
        "drain",
        P.DRAINING,
        _("Drain"),
        "output",
        _("Drain this host"),
        _(
            "No new instances go there; those that run are to leave, and the host's page lists "
            "them. They are not stopped: their owners must be told."
        ),
    )
    maintain = _decision(
        "maintain",
        P.MAINTENANCE,
        _("Maintenance"),
        "build",
        _("Put this host in maintenance"),
        _(
            "No new instances, and its cards are not checked. Who holds cards there keeps "
            "them. Afterwards the host is compared with its rows before it sells again."
        ),
    )
    retire_host = _decision(
        "retire_host",
        P.RETIRED,
        _("Retire"),
        "delete_forever",
        _("Retire this host"),
        _(
            "It and its cards leave the fleet for good; nobody looks at it again. Refused "
            "while anything there is held. Their history stays."
        ),
    )

    has_put_in_service_permission = _offered_to(set(P) - {P.IN_SERVICE, P.RETIRED})
    has_stop_provisioning_permission = _offered_to(set(P) - {P.NO_PROVISION, P.RETIRED})
    has_drain_permission = _offered_to(set(P) - {P.DRAINING, P.RETIRED})
    has_maintain_permission = _offered_to(set(P) - {P.MAINTENANCE, P.RETIRED})
    has_retire_host_permission = _offered_to({P.DRAINING, P.MAINTENANCE})
