"""Addresses of the site: staff pages under /admin/, the customer API under /v4."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("v4/", include("instances.api.urls")),
    path("v4beta/", include("instances.api.urls")),
]
handler400 = "instances.api.errors.bad_request"
handler403 = "instances.api.errors.forbidden"
handler404 = "instances.api.errors.not_found"
handler500 = "instances.api.errors.server_error"
