"""Check images of the catalogue: an image is on offer once it was fetched and is right."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from instances.choices import ImageStatus
from instances.exceptions import ImageUnusable
from instances.image_store import ImageFile, forget_all_but, local_file
from instances.models import Image

logger = logging.getLogger(__name__)

_MIB = 1 << 20
# Beyond a fetch's own time limit: then its worker has died.
_GIVEN_UP_S = 300


def due_images() -> list[int]:
    """Return the ids of images that wait for a check which nobody is at."""
    patience = timedelta(seconds=settings.IMAGE_FETCH_TIMEOUT_S + _GIVEN_UP_S)
    return list(
        Image.objects.filter(status=ImageStatus.CREATING, kernel_path="")
        .filter(Q(fetching_since=None) | Q(fetching_since__lt=Now() - patience))
        .values_list("pk", flat=True)
    )


def check_image(image_id: int) -> Image | None:
    """Fetch an image and offer it, or say on its row why not; None if it is gone.

    Blocks as long as a fetch may take. What was changed meanwhile is left to the next check.
    """
    rows = Image.objects.filter(pk=image_id, kernel_path="")
    rows.update(fetching_since=Now())
    image = rows.first()
    if image is None:
        return None
    changes = _outcome(image)
    rows.filter(
        source=image.source, sha256=image.sha256, disk_format=image.disk_format
    ).update(fetching_since=None, **changes)
    forget_all_but(set(Image.objects.values_list("sha256", flat=True)))
    return rows.first()


def _outcome(image: Image) -> dict[str, object]:
    try:
        found = local_file(image.source, image.sha256, image.disk_format)
    except ImageUnusable as error:
        logger.warning("image %s: %s", image.slug, error)
        return {
            "status": ImageStatus.PENDING_UPLOAD,
            "problem": error.public_message[:500],
        }
    return {
        "status": ImageStatus.AVAILABLE,
        "problem": "",
        "file_bytes": found.file_bytes,
        "virtual_bytes": found.virtual_bytes,
        "size_mib": max(image.size_mib, _mib(found)),
    }


def _mib(found: ImageFile) -> int:
    return -(-found.virtual_bytes // _MIB)
