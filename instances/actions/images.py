"""Put an image into the catalogue; a worker fetches and checks it before it is offered."""

from django.db import transaction

from instances.choices import ImageStatus
from instances.models import Image
from instances.tasks import enqueue_image

_WHAT_IT_IS = ("source", "sha256", "disk_format", "kernel_path")


def save_image(image: Image) -> None:
    """Save an image; one whose file is new or another is taken off and checked first."""
    with transaction.atomic():
        before = Image.objects.filter(pk=image.pk).values_list(*_WHAT_IT_IS).first()
        is_other = before != tuple(getattr(image, name) for name in _WHAT_IT_IS)
        unchecked = image.is_disk and (is_other or image.file_bytes is None)
        if unchecked:
            image.status = ImageStatus.CREATING
            image.problem = ""
            image.file_bytes = image.virtual_bytes = image.fetching_since = None
        elif is_other:
            image.status = ImageStatus.AVAILABLE
        image.save()
        if unchecked:
            enqueue_image(image.pk)
