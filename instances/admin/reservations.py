"""Staff pages for reservations: who holds what until when, to make and to let go."""

import secrets
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget

from instances.actions.reserve import ReservationOrder, release_reservation, reserve
from instances.choices import ReservationState
from instances.exceptions import IdempotencyConflict, InstancesError
from instances.models import Account, Plan, Reservation
from inventory.admin.colours import coloured
from inventory.admin.dialogs import leave_dialog, object_or_404, staff_actor
from inventory.admin.read_only import ReadOnlyAdmin
from inventory.ledger import clock
from inventory.models import Region

STATE_COLOURS = {
    ReservationState.ACTIVE: "info",
    ReservationState.USED: "success",
}


class ReserveForm(BaseDialogForm):
    """key makes a double click one reservation."""

    plan = forms.ModelChoiceField(
        Plan.objects.filter(is_sold=True),
        empty_label=None,
        widget=UnfoldAdminSelectWidget(),
        label=gettext_lazy("Plan"),
    )
    region = forms.ModelChoiceField(
        Region.objects.filter(is_open=True),
        empty_label=None,
        widget=UnfoldAdminSelectWidget(),
        label=gettext_lazy("Region"),
    )
    hours = forms.IntegerField(
        min_value=1,
        initial=1,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text=gettext_lazy("For how long. Then what is held is free again."),
        label=gettext_lazy("Hours"),
    )
    key = forms.CharField(
        max_length=64,
        initial=lambda: secrets.token_hex(16),
        widget=forms.HiddenInput(attrs={"autocomplete": "off"}),
    )

    def clean_hours(self) -> int:
        hours = int(self.cleaned_data["hours"])
        if hours * 3600 > settings.RESERVATION_MAX_S:
            raise forms.ValidationError(
                _("At most %(hours)s hours.")
                % {"hours": f"{settings.RESERVATION_MAX_S / 3600:g}"}
            )
        return hours


def reserve_for(
    request: HttpRequest, form: ReserveForm, account: Account
) -> HttpResponse:
    """Reserve what the dialog asks for; why it is refused is told on the account's page."""
    data = form.cleaned_data
    # A little short of it: the form's hours may be the longest time that is allowed.
    until = clock() + timedelta(hours=data["hours"], seconds=-1)
    order = ReservationOrder(
        account=account,
        plan=data["plan"].slug,
        region=data["region"].slug,
        expires_at=until,
        actor=staff_actor(request),
        idempotency_key=f"admin:{data['key']}",
    )
    try:
        row = reserve(order)
    except IdempotencyConflict:
        # The second click of a double one: its hours count from a moment later.
        row = account.reservations.get(idempotency_key=order.idempotency_key)
    except InstancesError as error:
        url = reverse("admin:instances_account_change", args=[account.pk])
        return leave_dialog(
            request,
            url,
            refused=_("Nothing was reserved: %(error)s") % {"error": error},
        )
    url = reverse("admin:instances_reservation_change", args=[row.pk])
    return leave_dialog(
        request,
        url,
        done=_("%(row)s holds %(plan)s for %(account)s.")
        % {"row": row, "plan": row.plan, "account": account},
    )


@admin.register(Reservation)
class ReservationAdmin(ReadOnlyAdmin):
    list_display = (
        "__str__",
        "shown_state",
        "account",
        "plan",
        "region",
        "expires_at",
        "created_by",
        "created_at",
    )
    list_filter = ("state", "plan", ("region", admin.RelatedFieldListFilter))
    list_select_related = ("account", "plan", "region")
    search_fields = ("account__name", "plan__slug", "uuid")
    search_help_text = gettext_lazy("Account, plan or UUID")
    fields = (
        ("account", "state"),
        ("plan", "region"),
        ("expires_at", "ended_at"),
        ("created_by", "created_at"),
        "uuid",
    )
    readonly_fields = ("uuid",)
    actions_detail = ("release_reservation",)

    @display(
        description=gettext_lazy("state"),
        ordering="state",
        label=coloured(ReservationState, STATE_COLOURS),
    )
    def shown_state(self, row: Reservation) -> tuple[str, str]:
        return row.state, row.get_state_display()

    def has_release_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        if not request.user.has_perm("instances.delete_reservation"):
            return False
        # What was sent is judged by the action, which says why it refuses.
        if request.method == "POST":
            return True
        row = object_or_404(self, request, object_id or "")
        return bool(row.state == ReservationState.ACTIVE)

    @action(
        description=gettext_lazy("Release"),
        icon="lock_open",
        variant=ActionVariant.DANGER,
        permissions=["release"],
        attrs={
            "aria-label": gettext_lazy("Release this reservation"),
            "role": "button",
        },
        dialog={
            "title": gettext_lazy("Release this reservation?"),
            "description": gettext_lazy("What it holds is free at once, for anybody."),
            "form_class": BaseDialogForm,
            "form_submit_text": gettext_lazy("Release"),
            "submit_variant": "danger",
        },
    )
    def release_reservation(
        self, request: HttpRequest, form: BaseDialogForm, object_id: str
    ) -> HttpResponse:
        row: Any = object_or_404(self, request, object_id)
        url = reverse("admin:instances_reservation_change", args=[row.pk])
        try:
            release_reservation(row.pk, staff_actor(request))
        except InstancesError as error:
            return leave_dialog(request, url, refused=f"{row}: {error}")
        return leave_dialog(
            request, url, done=_("%(row)s was released.") % {"row": row}
        )
