"""Logins, of staff and of employees: name and password, throttled, then the second factor.

The second factor is that of whoever has one.
"""

from typing import Any

from allauth.account.utils import perform_login
from allauth.mfa.base.views import authenticate
from django.contrib import admin
from django.contrib.auth.forms import AuthenticationForm as BaseForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from unfold.forms import AuthenticationForm

from gpucloud_site.access import attempts
from gpucloud_site.access.log import Kind


class _Throttled(BaseForm):
    request: HttpRequest

    def clean(self) -> dict[str, Any]:
        """Judge the password, unless there were too many failures.

        What it refuses with says nothing of whether there is such a person.
        """
        name, password = (self.cleaned_data.get(f) for f in ("username", "password"))
        if not (name and password):
            return self.cleaned_data
        attempt = attempts.begin(Kind.WRONG_PASSWORD, name, self.request)
        cleaned: dict[str, Any] = super().clean()
        attempts.settle(attempt, Kind.RIGHT_PASSWORD)
        return cleaned


class LoginForm(_Throttled, AuthenticationForm):
    """For staff alone."""


class StaffLogin(LoginView):
    authentication_form: type[BaseForm] = LoginForm
    template_name = "admin/login.html"

    def form_valid(self, form: BaseForm) -> HttpResponse:
        answer: HttpResponse = perform_login(
            self.request, form.get_user(), redirect_url=self.get_success_url()
        )
        return answer


class MemberLogin(StaffLogin):
    """For whoever is a member of an account, at the page for employees."""

    authentication_form = _Throttled
    template_name = "employees/login.html"

    def get_default_redirect_url(self) -> str:
        return reverse("employees")


def ask_for_code(request: HttpRequest) -> HttpResponse:
    """Show allauth's page for the code, in the staff site's look."""
    response = authenticate(request)
    if isinstance(response, TemplateResponse):
        response.context_data = {
            **admin.site.each_context(request),
            "title": _("Second factor"),
            **(response.context_data or {}),
        }
    return response
