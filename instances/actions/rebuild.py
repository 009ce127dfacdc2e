"""Rebuild an instance: a new disk from an image, on the same cards, cores and address."""

from dataclasses import dataclass, field

from django.db import transaction

from instances import lifecycle
from instances.actions.guest_settings import (
    GuestSettings,
    disk_problems,
    keep,
    problems_of,
)
from instances.actions.power import begin
from instances.choices import Desired, ImageStatus, JobKind, Phase
from instances.exceptions import InvalidRequest
from instances.models import Image, Instance, Job

NO_IMAGE = "You must specify an image"


@dataclass(frozen=True, slots=True)
class RebuildOrder:
    """What was asked for, unchecked. image: its slug. booted: whether it is to run then."""

    image: str
    settings: GuestSettings = field(default_factory=GuestSettings)
    booted: bool = True


def rebuild(instance: Instance, order: RebuildOrder, actor: str, username: str) -> Job:
    """Have the instance's disk made anew; all that is on it is lost.

    Raises InvalidRequest with all that is wrong, or InstanceBusy; then nothing changed.
    """
    image = check(instance, order)
    with transaction.atomic():
        locked = lifecycle.locked_at_rest(instance.pk)
        lifecycle.want(locked.pk, Desired.RUNNING if order.booted else Desired.OFF)
        kind = JobKind.REBUILD if order.booted else JobKind.REBUILD_OFF
        # The phase first: at rest, no instance has a next image.
        job = begin(kind, locked, Phase.REBUILDING, actor, username)
        Instance.objects.filter(pk=locked.pk).update(next_image=image)
        if image.is_disk:
            keep(order.settings, locked)
    return job


def check(instance: Instance, order: RebuildOrder) -> Image:
    """Return the image, changing nothing. Raises InvalidRequest with every error."""
    if not order.image:
        raise InvalidRequest([("image", NO_IMAGE)])
    image = Image.objects.filter(
        slug=order.image, status=ImageStatus.AVAILABLE, is_offered=True
    ).first()
    errors: list[tuple[str | None, str]] = []
    if image is None:
        errors.append(("image", "image is not valid"))
    elif image.is_disk != instance.image.is_disk:
        # Whether it has a disk and an address was settled when it was launched.
        errors.append(
            ("image", f"{instance.label} cannot be rebuilt from {image.slug}")
        )
    errors += disk_problems(instance.plan, image)
    errors += problems_of(order.settings, instance.account, image)
    if errors or image is None:
        raise InvalidRequest(errors)
    return image
