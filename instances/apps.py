"""Django's registration of the instances; a new database gets its schedules."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy


class InstancesConfig(AppConfig):
    name = "instances"
    verbose_name = gettext_lazy("Instances")

    def ready(self) -> None:
        post_migrate.connect(_begin_schedules, sender=self)


def _begin_schedules(**_: Any) -> None:
    from instances.tasks import begin_schedules

    begin_schedules()
