"""A person's own page of the second factor: set up, new recovery codes, removal."""

import base64

from allauth.mfa.adapter import get_adapter
from allauth.mfa.totp.internal.auth import generate_totp_secret
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache

from gpucloud_site.access import attempts, factors, sessions
from gpucloud_site.access.code_form import CodeField, CodeForm
from gpucloud_site.access.log import Kind, record
from instances.sealing import SecretLost


class SetUpForm(forms.Form):
    """Carries the new secret, sealed, until a code proves that an app has it.

    In the session it would lie in the database in clear.
    """

    sealed = forms.CharField(widget=forms.HiddenInput)
    code = CodeField(help_text=gettext_lazy("Six digits that the app shows now."))

    def __init__(self, request: HttpRequest, user: User) -> None:
        super().__init__(request.POST or None)
        self.request, self.user = request, user
        self.recovery_codes: list[str] = []
        self.secret = self._sent_secret() or generate_totp_secret()
        self.initial["sealed"] = get_adapter().encrypt(self.secret)

    def _sent_secret(self) -> str:
        try:
            return get_adapter().decrypt(self.data.get("sealed", ""))
        except SecretLost:
            return ""

    def clean_code(self) -> str:
        attempt = attempts.begin(
            Kind.WRONG_CODE, self.user.get_username(), self.request
        )
        code: str = self.cleaned_data["code"]
        try:
            self.recovery_codes = factors.set_up(self.user, self.secret, code)
        except factors.WrongCode as error:
            raise get_adapter().validation_error("incorrect_code") from error
        attempts.settle(attempt, Kind.SECOND_FACTOR_SET_UP)
        return code


@never_cache
def second_factor_page(request: HttpRequest) -> HttpResponse:
    """Show what there is; on POST do the one thing asked for, with a code as its proof."""
    assert isinstance(request.user, User)  # noqa: S101 -- the site let nobody else in
    if factors.factors_of(request.user).exists():
        return _change(request, request.user)
    return _set_up(request, request.user)


def _set_up(request: HttpRequest, user: User) -> HttpResponse:
    form = SetUpForm(request, user)
    if request.method == "POST" and form.is_valid():
        sessions.end_others(request, user, "second factor set up")
        return _codes(request, form.recovery_codes)
    adapter = get_adapter()
    drawing = adapter.build_totp_svg(adapter.build_totp_url(user, form.secret))
    return _page(
        request,
        "set_up",
        form=form,
        drawing=base64.b64encode(drawing.encode()).decode(),
        key=" ".join(form.secret[at : at + 4] for at in range(0, len(form.secret), 4)),
        is_required=settings.REQUIRE_SECOND_FACTOR,
    )


def _change(request: HttpRequest, user: User) -> HttpResponse:
    may_remove = not settings.REQUIRE_SECOND_FACTOR
    may = {"new_codes": _new_codes} | ({"remove": _removed} if may_remove else {})
    do = may.get(request.POST.get("do", ""))
    form = CodeForm(user=user, data=request.POST if do else None)
    if do and form.is_valid():
        return do(request, user)
    left = factors.codes_left(user)
    return _page(request, "change", form=form, codes_left=left, may_remove=may_remove)


def _new_codes(request: HttpRequest, user: User) -> HttpResponse:
    codes = factors.make_recovery_codes(user)
    record(Kind.RECOVERY_CODES_MADE, user, request)
    return _codes(request, codes)


def _removed(request: HttpRequest, user: User) -> HttpResponse:
    factors.remove(user)
    record(Kind.SECOND_FACTOR_REMOVED, user, request)
    messages.success(request, _("You have no second factor any more."))
    return redirect("admin:second-factor")


def _codes(request: HttpRequest, codes: list[str]) -> HttpResponse:
    """Show recovery codes, once: no other page can."""
    return _page(request, "codes", codes=codes)


def _page(request: HttpRequest, name: str, **context: object) -> HttpResponse:
    shared = admin.site.each_context(request)
    if not shared["has_permission"]:
        # Who may open nothing else yet sees links to nothing else, and a way out.
        here = {"title": _("Second factor"), "icon": "phonelink_lock"}
        item = {**here, "link": request.path, "has_permission": True, "active": True}
        shared |= {"has_permission": True, "sidebar_navigation": [{"items": [item]}]}
    wanted = request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()})
    return TemplateResponse(
        request,
        f"admin/second_factor/{name}.html",
        {
            **shared,
            "title": _("Second factor"),
            "next": wanted if is_ours else reverse("admin:index"),
            **context,
        },
    )
