"""The staff site: its first page, its own addresses, and which models it refuses."""

from collections.abc import Iterable
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.db.models import Model
from django.db.models.base import ModelBase
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.sites import UnfoldAdminSite

# django-q2's admin runs any dotted name and shows pickled arguments; our Job rows and
# schedules in code replace it. waffle's knows switches that nothing here asks.
# allauth's shows the sealed secrets of second factors.
REFUSED_APPS = frozenset({"django_q", "waffle", "account", "mfa"})


class StaffAdminSite(UnfoldAdminSite):
    index_title = gettext_lazy("Overview")
    index_template = "admin/overview.html"

    def register(
        self,
        model_or_iterable: type[Model] | Iterable[type[Model]],
        admin_class: Any = None,
        **options: Any,
    ) -> None:
        """Register as usual, but for the models of REFUSED_APPS, whoever asks and when."""
        models = (
            [model_or_iterable]
            if isinstance(model_or_iterable, ModelBase)
            else model_or_iterable
        )
        admitted = [
            model
            for model in models
            if model._meta.app_label not in REFUSED_APPS  # noqa: SLF001 -- public API
        ]
        super().register(admitted, admin_class, **options)

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        from gpucloud_site.overview import overview_for

        context = {**(extra_context or {}), **overview_for(request)}
        return super().index(request, context)

    def has_permission(self, request: HttpRequest) -> bool:
        """Let in staff, and once a second factor is required, those alone who have one."""
        is_staff: bool = super().has_permission(request)
        has_what_it_takes = (
            not settings.REQUIRE_SECOND_FACTOR
            or getattr(request.user, "has_second_factor", False)
            or request.path == reverse("admin:logout")
        )
        return is_staff and has_what_it_takes

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask for name and password (Django's own would stop there), and what is missing."""
        from gpucloud_site.access.login import StaffLogin

        if request.method == "GET" and self.has_permission(request):
            return redirect("admin:index")
        if request.method == "GET" and super().has_permission(request):
            return redirect(
                f"{reverse('admin:second-factor')}?{request.GET.urlencode('/')}"
            )
        context = {
            **self.each_context(request),
            "title": _("Log in"),
            "app_path": request.get_full_path(),
            "username": request.user.get_username(),
            **(extra_context or {}),
        }
        return cast(HttpResponse, StaffLogin.as_view(extra_context=context)(request))

    def second_factor(self, request: HttpRequest) -> HttpResponse:
        """Show the page that staff without a second factor may open too."""
        from gpucloud_site.access.second_factor_page import second_factor_page

        if not super().has_permission(request):
            return redirect_to_login(request.get_full_path(), reverse("admin:login"))
        return second_factor_page(request)

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        from gpucloud_site.access.people import log_password_change

        answer: HttpResponse = super().password_change(request, extra_context)
        log_password_change(request, answer, request.user)
        return answer

    def extra_urls(self) -> list[URLPattern]:
        from gpucloud_site.monitoring.views import health_page
        from instances.admin.capacity_page import capacity_page
        from instances.admin.consumer import show_consumer
        from instances.admin.flag_launch import flag_launch_page
        from instances.admin.fleet_page import fleet_page
        from instances.admin.launch_page import launch_page
        from instances.admin.readiness import (
            readiness_index,
            readiness_page,
            readiness_rows,
        )
        from instances.admin.reports import report_index, report_page
        from instances.admin.usage_page import usage_page

        return [
            path("second-factor/", self.second_factor, name="second-factor"),
            path("launch/", self.admin_view(launch_page), name="launch"),
            path("capacity/", self.admin_view(capacity_page), name="capacity"),
            path("fleet/", self.admin_view(fleet_page), name="fleet"),
            path("health/", self.admin_view(health_page), name="health"),
            path("reports/", self.admin_view(report_index), name="reports"),
            path("reports/<slug:name>/", self.admin_view(report_page), name="report"),
            path(
                "readiness/", self.admin_view(readiness_index), name="readiness-index"
            ),
            path(
                "readiness/<int:flag_id>/",
                self.admin_view(readiness_page),
                name="readiness",
            ),
            path(
                "readiness/<int:flag_id>/launch/",
                self.admin_view(flag_launch_page),
                name="flag-launch",
            ),
            path(
                "readiness/<int:flag_id>/<slug:name>/",
                self.admin_view(readiness_rows),
                name="readiness-rows",
            ),
            path("usage/", self.admin_view(usage_page), name="usage"),
            path(
                "consumer/<uuid:consumer>/",
                self.admin_view(show_consumer),
                name="consumer",
            ),
        ]
