"""The staff site: its first page, its own addresses, and which models it refuses."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Model
from django.db.models.base import ModelBase
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from unfold.sites import UnfoldAdminSite

# django-q2's admin runs any dotted name and shows pickled arguments; our Job rows and
# schedules in code replace it. waffle's knows switches that nothing here asks.
REFUSED_APPS = frozenset({"django_q", "waffle"})


class StaffAdminSite(UnfoldAdminSite):
    index_title = "Overview"
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

    def extra_urls(self) -> list[URLPattern]:
        from gpucloud_site.monitoring.views import health_page
        from instances.admin.capacity_page import capacity_page
        from instances.admin.consumer import show_consumer
        from instances.admin.fleet_page import fleet_page
        from instances.admin.launch_page import launch_page
        from instances.admin.reports import report_index, report_page
        from instances.admin.usage_page import usage_page

        return [
            path("launch/", self.admin_view(launch_page), name="launch"),
            path("capacity/", self.admin_view(capacity_page), name="capacity"),
            path("fleet/", self.admin_view(fleet_page), name="fleet"),
            path("health/", self.admin_view(health_page), name="health"),
            path("reports/", self.admin_view(report_index), name="reports"),
            path("reports/<slug:name>/", self.admin_view(report_page), name="report"),
            path("usage/", self.admin_view(usage_page), name="usage"),
            path(
                "consumer/<uuid:consumer>/",
                self.admin_view(show_consumer),
                name="consumer",
            ),
        ]
