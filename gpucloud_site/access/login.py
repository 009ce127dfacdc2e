"""The login of the staff site: name and password, throttled, then the second factor if any."""

from typing import Any

from allauth.account.utils import perform_login
from allauth.mfa.base.views import authenticate
from django.contrib import admin
from django.contrib.auth.forms import AuthenticationForm as BaseForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from unfold.forms import AuthenticationForm

from gpucloud_site.access import attempts
from gpucloud_site.access.log import Kind


class LoginForm(AuthenticationForm):
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


class StaffLogin(LoginView):
    authentication_form = LoginForm
    template_name = "admin/login.html"

    def form_valid(self, form: BaseForm) -> HttpResponse:
        answer: HttpResponse = perform_login(
            self.request, form.get_user(), redirect_url=self.get_success_url()
        )
        return answer


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
