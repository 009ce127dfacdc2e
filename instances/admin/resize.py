"""The dialog that resizes an instance, with the plans that fit beside it now."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldBooleanSwitchWidget

from instances.actions.resize import ResizeOrder, plans_that_fit, resize
from instances.choices import REST_PHASES, Desired
from instances.exceptions import InstancesError
from instances.models import Instance, Plan
from instances.selectors import plans_for
from inventory.admin.dialogs import leave_dialog, staff_actor

PERMISSION = "instances.change_instance"


class ResizeForm(BaseDialogForm):
    """Offers what fits; what is sent is judged by the action, which says why it refuses."""

    plan = forms.ModelChoiceField(
        Plan.objects.none(),
        empty_label=None,
        widget=UnfoldAdminSelectWidget(),
        help_text=gettext_lazy("What fits on its own host now, beside what it holds."),
        label=gettext_lazy("Plan"),
    )
    grows_disk = forms.BooleanField(
        label=gettext_lazy("The disk grows to the new plan's size"),
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget(),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        instance = (
            Instance.objects.select_related("account", "plan", "image")
            .filter(pk=self.object_id)
            .first()
        )
        plans = list(plans_for(instance.account)) if instance else []
        if instance and not self.is_bound:
            plans = plans_that_fit(instance, plans)
        choice = self.fields["plan"]
        assert isinstance(choice, forms.ModelChoiceField)  # noqa: S101 -- as above
        if not plans:
            choice.help_text = _("No other plan fits on its own host now.")
        choice.queryset = Plan.objects.filter(pk__in=[plan.pk for plan in plans])


RESIZE: dict[str, Any] = {
    "description": gettext_lazy("Resize"),
    "icon": "aspect_ratio",
    "permissions": ["resize"],
    "attrs": {"aria-label": gettext_lazy("Resize this instance")},
    "dialog": {
        "title": gettext_lazy("Resize this instance?"),
        "description": gettext_lazy(
            "It holds both plans until its guest, which is shut down and started, has the "
            "new one. Its old cards are then cleaned. A disk never becomes smaller."
        ),
        "form_class": ResizeForm,
        "form_submit_text": gettext_lazy("Resize"),
    },
}


def may_resize(request: HttpRequest, instance: Instance) -> bool:
    """Say whether to offer it; what was sent is judged by the action."""
    if not request.user.has_perm(PERMISSION):
        return False
    is_at_rest = instance.phase in REST_PHASES and instance.desired != Desired.DELETED
    return request.method == "POST" or is_at_rest


def resize_dialog(
    request: HttpRequest, form: ResizeForm, instance: Instance, to: str
) -> HttpResponse:
    """Have the instance resized, and go to `to`."""
    order = ResizeOrder(
        form.cleaned_data["plan"].slug,
        staff_actor(request),
        request.user.get_username(),
        form.cleaned_data["grows_disk"],
    )
    try:
        resize(instance, order)
    except InstancesError as error:
        return leave_dialog(request, to, refused=f"{instance}: {error}")
    return leave_dialog(
        request,
        to,
        done=_("%(instance)s is being resized to %(plan)s.")
        % {"instance": instance, "plan": form.cleaned_data["plan"]},
    )
