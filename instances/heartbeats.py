"""Signs of life in the database: that somebody, on whatever machine, does the work.

What is wrong within one machine is for its supervisor (instances.cluster_signs).
"""

from django.db.models.functions import Now

from instances.models import Heartbeat
from instances.processes import this_process

# Of a scheduled task: a scheduler, the queue, a worker and the database were all there.
WORKERS = "workers"


def beat(part: str) -> None:
    Heartbeat.objects.update_or_create(
        part=part, defaults={"at": Now(), "by": this_process()}
    )
