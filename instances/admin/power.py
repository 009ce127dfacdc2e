"""The buttons of an instance's page that switch it: dialogs, each one action's call."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.functional import Promise, lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from instances.actions import power
from instances.actions.guest_settings import GuestSettings
from instances.actions.password import reset_password
from instances.actions.rebuild import RebuildOrder, rebuild
from instances.actions.update import update
from instances.choices import Desired
from instances.cloud_init import hash_password
from instances.exceptions import InstancesError
from instances.lifecycle import is_at_work
from instances.models import Instance
from instances.passwords import password_problem
from instances.selectors import images
from instances.status import Status, status_of
from inventory.admin.dialogs import leave_dialog, object_or_404, staff_actor


class RebuildForm(BaseDialogForm):
    """Passwords are not asked for: staff should know no customer's."""

    image = forms.ChoiceField(
        widget=UnfoldAdminSelectWidget(),
        label=gettext_lazy("Image"),
    )
    authorized_keys = forms.CharField(
        label=gettext_lazy("SSH keys"),
        required=False,
        max_length=20_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text=gettext_lazy("Public keys that may log in as root, one a line."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["image"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101
        field.choices = [(image.slug, image.label) for image in images()]


class PasswordForm(BaseDialogForm):
    root_pass = forms.CharField(
        label=gettext_lazy("New root password"),
        strip=False,
        # It is not sent back when it is refused.
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text=gettext_lazy(
            "7 to 128 characters of two classes or more. The guest takes it at its "
            "next boot."
        ),
    )

    def clean_root_pass(self) -> str:
        password = str(self.cleaned_data["root_pass"])
        if problem := password_problem(password):
            raise forms.ValidationError(problem)
        return password


def _this_instance(verb: Promise) -> str:
    return _("%(verb)s this instance") % {"verb": verb}


_of_instance = lazy(_this_instance, str)


def _button(
    name: Promise, icon: str, title: Promise, description: Promise, **dialog: Any
) -> dict[str, Any]:
    return {
        "description": name,
        "icon": icon,
        "permissions": [dialog.pop("permission")],
        "variant": dialog.pop("variant", ActionVariant.DEFAULT),
        "attrs": {
            "aria-label": _of_instance(name),
            "role": "button",
        },
        "dialog": {
            "title": title,
            "description": description,
            "form_class": BaseDialogForm,
            "form_submit_text": name,
            **dialog,
        },
    }


class PowerDialogs:
    """Offers what can be done now; what was sent is judged by the action."""

    def _may(
        self,
        request: HttpRequest,
        object_id: str | None,
        can: Callable[[Instance], bool],
    ) -> bool:
        if not request.user.has_perm("instances.change_instance"):
            return False
        if request.method == "POST":
            return True
        instance = object_or_404(self, request, object_id or "")  # type: ignore[arg-type]
        if instance.is_ended or instance.desired == Desired.DELETED:
            return False
        if is_at_work(instance):
            return False
        return can(instance)

    def has_boot_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return self._may(request, object_id, _is_off)

    def has_shut_down_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return self._may(request, object_id, lambda i: not _is_off(i))

    def has_rebuild_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return self._may(request, object_id, lambda _: True)

    def has_password_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return self._may(
            request, object_id, lambda i: _is_off(i) and i.image.reads_seeds
        )

    def _do(
        self,
        request: HttpRequest,
        object_id: str,
        act: Callable[[Instance, str, str], object],
        done: str,
    ) -> HttpResponse:
        instance = object_or_404(self, request, object_id)  # type: ignore[arg-type]
        url = reverse("admin:instances_instance_change", args=[instance.pk])
        try:
            act(instance, staff_actor(request), request.user.get_username())
        except InstancesError as error:
            return leave_dialog(request, url, refused=f"{instance}: {error}")
        return leave_dialog(request, url, done=done % {"instance": instance})

    @action(
        **_button(
            *(gettext_lazy("Boot"), "play_arrow", gettext_lazy("Boot this instance?")),
            gettext_lazy("Its guest is started with the cards that it holds."),
            permission="boot",
        )
    )
    def boot_instance(
        self, request: HttpRequest, form: BaseDialogForm, object_id: str
    ) -> HttpResponse:
        return self._do(
            request, object_id, power.boot, _("%(instance)s is being booted.")
        )

    @action(
        **_button(
            *(
                gettext_lazy("Shut down"),
                "stop",
                gettext_lazy("Shut this instance down?"),
            ),
            gettext_lazy(
                "Its guest is asked to power off, and unplugged if it does not. It keeps its "
                "cards, cores, memory, disk and address."
            ),
            permission="shut_down",
        )
    )
    def shut_down_instance(
        self, request: HttpRequest, form: BaseDialogForm, object_id: str
    ) -> HttpResponse:
        return self._do(
            request, object_id, power.shut_down, _("%(instance)s is being shut down.")
        )

    @action(
        **_button(
            *(
                gettext_lazy("Reboot"),
                "restart_alt",
                gettext_lazy("Reboot this instance?"),
            ),
            gettext_lazy(
                "Its guest is shut down and started again. It keeps its cards, cores, "
                "memory, disk and address."
            ),
            permission="shut_down",
        )
    )
    def reboot_instance(
        self, request: HttpRequest, form: BaseDialogForm, object_id: str
    ) -> HttpResponse:
        return self._do(
            request, object_id, power.reboot, _("%(instance)s is being rebooted.")
        )

    @action(
        **_button(
            *(gettext_lazy("Rebuild"), "build", gettext_lazy("Rebuild this instance?")),
            gettext_lazy(
                "Its guest is stopped at once, and all that is on its disk is lost. It keeps "
                "its cards, cores, memory and address, and gets a new disk."
            ),
            permission="rebuild",
            variant=ActionVariant.DANGER,
            form_class=RebuildForm,
            submit_variant="danger",
        )
    )
    def rebuild_instance(
        self, request: HttpRequest, form: RebuildForm, object_id: str
    ) -> HttpResponse:
        lines = form.cleaned_data["authorized_keys"].splitlines()
        keys = tuple(line.strip() for line in lines if line.strip())
        order = RebuildOrder(form.cleaned_data["image"], GuestSettings(keys=keys))

        def act(instance: Instance, actor: str, username: str) -> object:
            return rebuild(instance, order, actor, username)

        return self._do(request, object_id, act, _("%(instance)s is being rebuilt."))

    @action(
        **_button(
            *(
                gettext_lazy("Reset password"),
                "key",
                gettext_lazy("Reset the root password?"),
            ),
            gettext_lazy(
                "Keys and files stay as they are. The password is kept nowhere."
            ),
            permission="password",
            form_class=PasswordForm,
        )
    )
    def reset_password(
        self, request: HttpRequest, form: PasswordForm, object_id: str
    ) -> HttpResponse:
        hashed = hash_password(form.cleaned_data["root_pass"])

        def act(instance: Instance, actor: str, username: str) -> object:
            return reset_password(instance, hashed, actor, username)

        return self._do(
            request,
            object_id,
            act,
            _("%(instance)s gets a new password at its next boot."),
        )

    @action(
        **_button(
            *(
                gettext_lazy("Switch watchdog"),
                "pets",
                gettext_lazy("Switch the watchdog?"),
            ),
            gettext_lazy(
                "It starts a guest again that crashed: on if it is off, off if it is on."
            ),
            permission="rebuild",
        )
    )
    def switch_watchdog(
        self, request: HttpRequest, form: BaseDialogForm, object_id: str
    ) -> HttpResponse:
        def act(instance: Instance, _actor: str, username: str) -> object:
            wanted = not instance.watchdog_enabled
            update(instance, username, watchdog_enabled=wanted)
            return wanted

        return self._do(
            request, object_id, act, _("%(instance)s has its watchdog switched.")
        )


def _is_off(instance: Instance) -> bool:
    return status_of(instance) is Status.OFFLINE
