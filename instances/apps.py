"""Django's registration of the instances; schedules are made sure of after migrate."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy


class InstancesConfig(AppConfig):
    name = "instances"
    verbose_name = gettext_lazy("Instances")

    def ready(self) -> None:
        post_migrate.connect(_ensure_schedules, sender=self)


def _ensure_schedules(**_: Any) -> None:
    from instances.tasks import ensure_schedules

    ensure_schedules()
