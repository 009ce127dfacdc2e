"""Rename or re-tag an instance, or set its watchdog; the guest notices nothing."""

from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from instances.choices import ENDED_PHASES, EventAction, EventStatus
from instances.exceptions import InstanceBusy, InvalidRequest
from instances.instance_names import LABEL_TAKEN, label_problem, tags_problem
from instances.models import Event, Instance


def update(
    instance: Instance,
    username: str,
    *,
    label: str | None = None,
    tags: Sequence[str] | None = None,
    watchdog_enabled: bool | None = None,
) -> None:
    """Give the instance what is not None of these, and tell the account.

    Raises InvalidRequest with all that is wrong; then nothing changed.
    """
    problems: list[tuple[str | None, str]] = []
    if label is not None and (
        problem := label_problem(instance.account, label, of=instance)
    ):
        problems.append(("label", problem))
    if tags is not None and (problem := tags_problem(tags)):
        problems.append(("tags", problem))
    if problems:
        raise InvalidRequest(problems)
    given: dict[str, Any] = {
        "label": label,
        "tags": None if tags is None else list(tags),
        "watchdog_enabled": watchdog_enabled,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    try:
        with transaction.atomic():
            _write(instance, username, changes)
    except IntegrityError:
        # Another request with this label committed first.
        raise InvalidRequest([("label", LABEL_TAKEN)]) from None


def _write(instance: Instance, username: str, changes: dict[str, Any]) -> None:
    live = Instance.objects.filter(pk=instance.pk).exclude(phase__in=ENDED_PHASES)
    if not live.update(**changes, updated_at=Now()):
        raise InstanceBusy("Linode busy.")
    Event.objects.create(
        account=instance.account,
        action=EventAction.LINODE_UPDATE,
        status=EventStatus.NOTIFICATION,
        entity_id=instance.pk,
        entity_label=changes.get("label", instance.label),
        username=username,
        percent_complete=100,
    )
