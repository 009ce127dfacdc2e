"""Django's registration of the feature flags."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy


class FlagsConfig(AppConfig):
    name = "flags"
    verbose_name = gettext_lazy("Feature flags")
