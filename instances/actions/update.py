"""Rename or re-tag an instance; the guest notices nothing."""

from collections.abc import Sequence

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
) -> None:
    """Give the instance the label and tags that are not None, and tell the account.

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
    try:
        with transaction.atomic():
            _write(
                instance,
                username,
                instance.label if label is None else label,
                instance.tags if tags is None else list(tags),
            )
    except IntegrityError:
        # Another request with this label committed first.
        raise InvalidRequest([("label", LABEL_TAKEN)]) from None


def _write(instance: Instance, username: str, label: str, tags: list[str]) -> None:
    live = Instance.objects.filter(pk=instance.pk).exclude(phase__in=ENDED_PHASES)
    if not live.update(label=label, tags=tags, updated_at=Now()):
        raise InstanceBusy("Linode busy.")
    Event.objects.create(
        account=instance.account,
        action=EventAction.LINODE_UPDATE,
        status=EventStatus.NOTIFICATION,
        entity_id=instance.pk,
        entity_label=label,
        username=username,
        percent_complete=100,
    )
