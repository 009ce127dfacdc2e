"""Staff pages for discrepancies: what each means, and what may be done about it here.

They stand above the inventory: to look again, and to know whose a domain is, takes both.
"""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from instances import tasks
from instances.actions.check_guest import is_check_guest, remove_check_guest
from instances.admin.adopt import (
    ADOPT,
    SHUT,
    AdoptForm,
    ShutForm,
    adopt_dialog,
    may_be_adopted,
    may_be_shut,
    shut_dialog,
)
from instances.admin.force_release import (
    FORCE_RELEASE,
    PERMISSION,
    ForceReleaseForm,
    force_release_dialog,
    may_force_release,
)
from instances.exceptions import InstancesError
from inventory.admin.dialogs import (
    ReasonForm,
    actor_with_reason,
    leave_dialog,
    object_or_404,
    staff_actor,
)
from inventory.admin.health import OpenFilter
from inventory.admin.holders import holder_names
from inventory.admin.read_only import ReadOnlyAdmin
from inventory.card_moves import accept_move
from inventory.choices import DiscrepancyKind, HostConnection, HostPolicy
from inventory.exceptions import InventoryError
from inventory.models import Discrepancy, Host
from inventory.remedies import remedy_of


class OpenDiscrepancyFilter(OpenFilter):
    ended_field = "resolved_at"


@admin.register(Discrepancy)
class DiscrepancyAdmin(ReadOnlyAdmin):
    """Written by reconciliation; each goes when host and rows agree again."""

    list_display = (
        "__str__",
        "detail",
        "prevents_claims",
        "first_seen_at",
        "last_seen_at",
        "resolved_at",
    )
    list_filter = (OpenDiscrepancyFilter, "kind", "prevents_claims", "host__region")
    list_select_related = ("host",)
    search_fields = ("host__name", "subject", "detail", "consumer")
    search_help_text = gettext_lazy("Host, address, domain or holder")
    change_form_template = "admin/inventory/discrepancy/page.html"
    fields = (
        ("kind", "prevents_claims"),
        ("host", "card"),
        "subject",
        "detail",
        ("first_seen_at", "last_seen_at"),
        "resolved_at",
    )
    actions_detail = (
        *("look_again", "accept_move", "remove_guest", "force_release"),
        *("adopt", "shut_guest"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Discrepancy]:
        rows: QuerySet[Discrepancy] = super().get_queryset(request)
        return rows.select_related("host", "card__host")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = kwargs.get("obj")
        if row is not None:
            context["remedy"] = remedy_of(DiscrepancyKind(row.kind))
            if row.consumer:
                context["holder_name"] = holder_names([row.consumer])[row.consumer]
        return super().render_change_form(request, context, *args, **kwargs)

    def _may(
        self,
        request: HttpRequest,
        object_id: str | None,
        permission: str,
        is_for: Callable[[Discrepancy], bool] = lambda _: True,
    ) -> bool:
        """Say whether to offer an action that is for open rows; is_for: for which."""
        if not request.user.has_perm(permission):
            return False
        # What was sent is judged by the action, which says why it refuses.
        if request.method == "POST":
            return True
        row: Discrepancy = object_or_404(self, request, object_id or "")
        return row.resolved_at is None and is_for(row)

    def has_look_again_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return self._may(request, object_id, "inventory.change_discrepancy")

    def has_accept_move_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return self._may(request, object_id, "inventory.change_card", _is_move)

    def has_remove_guest_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return self._may(request, object_id, "inventory.change_card", is_check_guest)

    def has_adopt_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return self._may(request, object_id, PERMISSION, may_be_adopted)

    def has_shut_guest_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return self._may(request, object_id, PERMISSION, may_be_shut)

    def has_force_release_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        row = object_or_404(self, request, object_id or "")
        return may_force_release(request, row.consumer)

    @action(
        description=gettext_lazy("Look again"),
        icon="sync",
        permissions=["look_again"],
        attrs={"aria-label": gettext_lazy("Look at this host again now")},
        dialog={
            "title": gettext_lazy("Look at this host again now"),
            "description": gettext_lazy(
                "It is asked for all its cards and domains; that may take a minute."
            ),
            "form_class": BaseDialogForm,
            "form_submit_text": gettext_lazy("Look again"),
        },
    )
    def look_again(
        self, request: HttpRequest, form: BaseDialogForm, object_id: str
    ) -> HttpResponse:
        row = object_or_404(self, request, object_id)
        url = _url(row)
        if row.host.policy == HostPolicy.RETIRED:
            return leave_dialog(
                request, url, refused=_("%(host)s is retired.") % {"host": row.host}
            )
        tasks.reconcile_host(row.host_id)
        host = Host.objects.get(pk=row.host_id)
        if host.connection != HostConnection.OK:
            return leave_dialog(
                request,
                url,
                refused=_("%(host)s does not answer, or not as itself.")
                % {"host": host},
            )
        row.refresh_from_db()
        done = _("It is still so.") if row.resolved_at is None else _("It is over.")
        return leave_dialog(
            request,
            url,
            done=_("%(host)s was looked at. %(done)s") % {"host": host, "done": done},
        )

    @action(
        description=gettext_lazy("Accept the move"),
        icon="move_down",
        variant=ActionVariant.PRIMARY,
        permissions=["accept_move"],
        attrs={"aria-label": gettext_lazy("Accept that this card has moved")},
        dialog={
            "title": gettext_lazy("Accept that this card has moved"),
            "description": gettext_lazy(
                "The host is asked for it once more. Its address, node and functions are "
                "taken over; it is checked before it is sold."
            ),
            "form_class": ReasonForm,
            "form_submit_text": gettext_lazy("Accept the move"),
        },
    )
    def accept_move(
        self, request: HttpRequest, form: ReasonForm, object_id: str
    ) -> HttpResponse:
        row = object_or_404(self, request, object_id)
        if not _is_move(row):
            return leave_dialog(request, _url(row), refused=_("It is about no move."))
        try:
            card = accept_move(
                row.card_id, row.host_id, row.subject, actor_with_reason(request, form)
            )
        except InventoryError as error:
            return leave_dialog(request, _url(row), refused=str(error))
        self.log_change(request, row, f"Move accepted. {form.cleaned_data['reason']}")
        url = reverse("admin:inventory_card_change", args=[card.pk])
        condition = card.get_condition_display()
        return leave_dialog(
            request,
            url,
            done=_("%(card)s is %(condition)s now.")
            % {"card": card, "condition": condition},
        )

    @action(
        description=gettext_lazy("Remove the check guest"),
        icon="delete_sweep",
        variant=ActionVariant.PRIMARY,
        permissions=["remove_guest"],
        attrs={"aria-label": gettext_lazy("Remove the check guest that was left over")},
        dialog={
            "title": gettext_lazy("Remove the check guest that was left over"),
            "description": gettext_lazy(
                "A guest of ours, with this card alone, that no check uses."
            ),
            "form_class": ReasonForm,
            "form_submit_text": gettext_lazy("Remove"),
        },
    )
    def remove_guest(
        self, request: HttpRequest, form: ReasonForm, object_id: str
    ) -> HttpResponse:
        row = object_or_404(self, request, object_id)
        if not is_check_guest(row):
            return leave_dialog(
                request, _url(row), refused=_("It is no check guest of ours.")
            )
        try:
            job = remove_check_guest(row.card_id, staff_actor(request))
        except InstancesError as error:
            return leave_dialog(request, _url(row), refused=str(error))
        self.log_change(request, row, f"{job}. {form.cleaned_data['reason']}")
        return leave_dialog(
            request, _url(row), done=_("%(job)s is queued.") % {"job": job}
        )

    @action(**FORCE_RELEASE)
    def force_release(
        self, request: HttpRequest, form: ForceReleaseForm, object_id: str
    ) -> HttpResponse:
        row = object_or_404(self, request, object_id)
        return force_release_dialog(self, request, form, row, row.consumer, _url(row))

    @action(**ADOPT)
    def adopt(
        self, request: HttpRequest, form: AdoptForm, object_id: str
    ) -> HttpResponse:
        row = object_or_404(self, request, object_id)
        return adopt_dialog(self, request, form, row, _url(row))

    @action(**SHUT)
    def shut_guest(
        self, request: HttpRequest, form: ShutForm, object_id: str
    ) -> HttpResponse:
        row = object_or_404(self, request, object_id)
        return shut_dialog(self, request, form, row, _url(row))


def _is_move(row: Discrepancy) -> bool:
    return row.kind == DiscrepancyKind.CARD_MOVED and row.card_id is not None


def _url(row: Discrepancy) -> str:
    return reverse("admin:inventory_discrepancy_change", args=[row.pk])
