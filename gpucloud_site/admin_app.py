"""Make the staff site the one that every app's admin module registers with."""

from django.contrib.admin.apps import AdminConfig


class StaffAdminConfig(AdminConfig):
    # In gpucloud_site.apps it would be a second default configuration of that app.
    default_site = "gpucloud_site.admin_site.StaffAdminSite"
