"""Django's registration of the site itself: templates, static files, a lab's driver."""

from importlib import import_module
from pathlib import Path

from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth.signals import user_logged_in

from gpucloud_site import model_names


class SiteConfig(AppConfig):
    name = "gpucloud_site"
    verbose_name = "gpucloud"

    def ready(self) -> None:
        import_module("gpucloud_site.deploy_checks")
        model_names.make_translatable()
        sessions = import_module("gpucloud_site.access.sessions")
        user_logged_in.connect(sessions.begin)
        if settings.SIMULATED_HOSTS:
            # Not part of the product: what is in tests/ is there in a checkout alone.
            simulated = import_module("tests.simulated_hosts")
            simulated.answer_from(Path(settings.SIMULATED_HOSTS))
