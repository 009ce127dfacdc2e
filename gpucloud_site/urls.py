"""Addresses of the site: staff pages, employees' page, the customer API."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView, TemplateView

from gpucloud_site.access.login import MemberLogin, ask_for_code
from gpucloud_site.monitoring.views import live, metrics, ready

urlpatterns = [
    path("health/live", live),
    path("health/ready", ready),
    path("metrics", metrics),
    path("", RedirectView.as_view(pattern_name="admin:index")),
    # django-allauth leads to these by name; what else it has is at no address.
    path("admin/login/", admin.site.login, name="account_login"),
    path("admin/login/code/", ask_for_code, name="mfa_authenticate"),
    path("admin/", admin.site.urls),
    path(
        "docs/api/",
        TemplateView.as_view(template_name="api_reference.html"),
        name="api-reference",
    ),
    path("employees/login/", MemberLogin.as_view(), name="employees-login"),
    path("", include("instances.pages.betas")),
    path("", include("instances.pages.feedback")),
    path("v4/", include("instances.api.urls")),
    path("v4beta/", include("instances.api.urls")),
]
handler400 = "instances.api.errors.bad_request"
handler403 = "instances.api.errors.forbidden"
handler404 = "instances.api.errors.not_found"
handler500 = "instances.api.errors.server_error"
