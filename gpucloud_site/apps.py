"""Django's registration of the site itself: templates, static files, bootstrap."""

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "gpucloud_site"
    verbose_name = "gpucloud"
