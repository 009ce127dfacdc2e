"""Addresses of the site: staff pages under /admin/, the customer API under /v4."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("v4/", include("instances.api.urls")),
    path("v4beta/", include("instances.api.urls")),
]
handler400 = "instances.api.errors.bad_request"
handler403 = "instances.api.errors.forbidden"
handler404 = "instances.api.errors.not_found"
handler500 = "instances.api.errors.server_error"
