"""Django's registration of the inventory; its pure core learns to translate here."""

from django.apps import AppConfig
from django.utils.translation import gettext, gettext_lazy, ngettext

from inventory import words


class InventoryConfig(AppConfig):
    name = "inventory"
    verbose_name = gettext_lazy("Inventory")

    def ready(self) -> None:
        words.translate_with(gettext, ngettext)
