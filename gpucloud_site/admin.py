"""Staff pages for the users and groups of Django itself, in the site's style."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Exists, OuterRef, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from gpucloud_site.access import sessions
from gpucloud_site.access.factors import factors_of
from gpucloud_site.access.people import log_password_change, reset_second_factor
from inventory.admin.dialogs import (
    ReasonForm,
    leave_dialog,
    object_or_404,
    staff_actor,
)

# The import above registered Django's own classes.
admin.site.unregister([User, Group])


def lost_powers(form: "ModelForm[Any]") -> list[str]:
    """Return the names of what a sent form takes from its user."""
    was, is_now = form.initial, form.cleaned_data
    flags = ("is_active", "is_staff", "is_superuser")
    sets = ("groups", "user_permissions")
    return [
        *(name for name in flags if was.get(name) and not is_now.get(name, True)),
        *(n for n in sets if n in is_now and set(was.get(n, ())) - set(is_now[n])),
    ]


@admin.register(User)
class StaffUserAdmin(UserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = (
        *("username", "email", "is_staff", "is_superuser", "is_active"),
        "second_factor",
    )
    list_filter = ("is_staff", "is_superuser", "is_active", "groups")
    actions_detail = ("end_sessions", "reset_factor")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        users: QuerySet[User] = super().get_queryset(request)
        return users.annotate(with_factor=Exists(factors_of(OuterRef("pk"))))

    @display(
        description=gettext_lazy("second factor"), boolean=True, ordering="with_factor"
    )
    def second_factor(self, user: Any) -> bool:
        return bool(user.with_factor)

    def save_related(
        self, request: HttpRequest, form: Any, formsets: Any, change: bool
    ) -> None:
        super().save_related(request, form, formsets, change)
        if change and (lost := lost_powers(form)):
            sessions.end_all(
                form.instance,
                actor=staff_actor(request),
                reason=f"taken: {', '.join(lost)}",
            )

    def user_change_password(
        self, request: HttpRequest, id: str, form_url: str = ""
    ) -> HttpResponse:
        answer: HttpResponse = super().user_change_password(request, id, form_url)
        user = object_or_404(self, request, id)
        log_password_change(request, answer, user, actor=staff_actor(request))
        return answer

    def has_end_access_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return request.user.has_perm("auth.change_user") and bool(
            object_or_404(self, request, object_id or "")
        )

    @action(
        description=gettext_lazy("End all sessions"),
        icon="logout",
        permissions=["end_access"],
        attrs={"aria-label": gettext_lazy("End all sessions of this person")},
        dialog={
            "title": gettext_lazy("End all sessions of this person?"),
            "description": gettext_lazy(
                "Whoever is logged in under this name has to log in anew."
            ),
            "form_class": ReasonForm,
            "form_submit_text": gettext_lazy("End all sessions"),
        },
    )
    def end_sessions(
        self, request: HttpRequest, form: ReasonForm, object_id: str
    ) -> HttpResponse:
        user = object_or_404(self, request, object_id)
        reason = form.cleaned_data["reason"]
        sessions.end_all(user, actor=staff_actor(request), reason=reason)
        self.log_change(request, user, f"Ended all sessions. {reason}")
        return leave_dialog(request, _page_of(user), done=_("All sessions are ended."))

    @action(
        description=gettext_lazy("Reset second factor"),
        icon="phonelink_erase",
        permissions=["end_access"],
        attrs={"aria-label": gettext_lazy("Reset the second factor of this person")},
        dialog={
            "title": gettext_lazy("Reset the second factor of this person?"),
            "description": gettext_lazy(
                "Make sure that it is they who ask: phone them. The next login takes the "
                "password alone and sets up a new one. All sessions end."
            ),
            "form_class": ReasonForm,
            "form_submit_text": gettext_lazy("Reset"),
            "submit_variant": "danger",
        },
    )
    def reset_factor(
        self, request: HttpRequest, form: ReasonForm, object_id: str
    ) -> HttpResponse:
        user = object_or_404(self, request, object_id)
        if user.pk == request.user.pk:
            refused = _("Ask another admin: your own asks for a code.")
            return leave_dialog(request, _page_of(user), refused=refused)
        reason = form.cleaned_data["reason"]
        if not reset_second_factor(user, staff_actor(request), reason):
            refused = _("%(user)s has no second factor. Nothing was changed.") % {
                "user": user
            }
            return leave_dialog(request, _page_of(user), refused=refused)
        self.log_change(request, user, f"Reset the second factor. {reason}")
        return leave_dialog(
            request, _page_of(user), done=_("Reset. The next login sets up a new one.")
        )


def _page_of(user: User) -> str:
    return reverse("admin:auth_user_change", args=[user.pk])


@admin.register(Group)
class StaffGroupAdmin(GroupAdmin, ModelAdmin):
    pass
