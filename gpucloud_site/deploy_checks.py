"""What `manage.py check --deploy` asks of a production installation beside Django's own."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, Tags, register


@register(Tags.security, deploy=True)
def hosts_are_real(**_: Any) -> list[Error]:
    """Refuse a fleet of simulated hosts."""
    if not settings.SIMULATED_HOSTS:
        return []
    return [
        Error(
            "GPUCLOUD_SIMULATED_HOSTS is set: customers would buy cards that do not exist.",
            hint="Unset it.",
            id="gpucloud.E001",
        )
    ]
