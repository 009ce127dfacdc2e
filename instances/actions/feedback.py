"""Write down what an account says of an instance, there or ended."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from instances.exceptions import InvalidRequest
from instances.feedback import CHECKS
from instances.models import Instance, InstanceFeedback


def give_feedback(
    instance: Instance, changes: Mapping[str, Any], actor: str
) -> InstanceFeedback:
    """Keep `changes`, of the fields in CHECKS, beside what was said before.

    Raises InvalidRequest with every wrong field, and if the workload was never said.
    """
    problems: list[tuple[str | None, str]] = [
        (field, problem)
        for field, value in changes.items()
        if (problem := CHECKS[field](value))
    ]
    if problems:
        raise InvalidRequest(problems)
    with transaction.atomic():
        # The instance's row is the lock: of two first words the second changes the first.
        Instance.objects.select_for_update(of=("self",)).get(pk=instance.pk)
        row = InstanceFeedback.objects.filter(instance=instance).first()
        if row is None:
            if "workload" not in changes:
                raise InvalidRequest([("workload", "workload is required")])
            row = InstanceFeedback(instance=instance)
        for field, value in changes.items():
            setattr(row, field, value)
        row.written_by = actor
        row.save()
    return row
