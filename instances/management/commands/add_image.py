"""manage.py add_image: put a disk image into the catalogue, and wait until it is checked."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from instances.choices import DiskFormat, ImageStatus
from instances.image_catalogue import check_image
from instances.models import Image


class Command(BaseCommand):
    help = (
        "Add or change a disk image. SOURCE is an address, or a file's path below "
        "GPUCLOUD_IMAGE_FOLDER. Exit status 1 if it is not what its digest says."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", help="the API's id, such as linode/debian12")
        parser.add_argument("source")
        parser.add_argument("sha256", help="what `sha256sum FILE` prints")
        parser.add_argument("--format", choices=DiskFormat.values, default="qcow2")
        parser.add_argument("--label", default="", help="for people")
        parser.add_argument("--vendor", default="")
        parser.add_argument("--description", default="")
        parser.add_argument("--position", type=int, default=0, help="place in lists")
        parser.add_argument("--without-cloud-init", action="store_true")

    def handle(self, *_: Any, **options: Any) -> None:
        image = Image.objects.filter(slug=options["slug"]).first()
        image = image or Image(slug=options["slug"])
        image.source = options["source"]
        image.sha256 = options["sha256"]
        image.disk_format = options["format"]
        image.label = options["label"] or image.label or options["slug"]
        image.vendor = options["vendor"] or image.vendor
        image.description = options["description"] or image.description
        image.position = options["position"] or image.position
        image.has_cloud_init = not options["without_cloud_init"]
        # Not the action: it would have a worker do what is done here.
        image.status = ImageStatus.CREATING
        try:
            image.full_clean()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        image.save()
        checked = check_image(image.pk)
        if checked is None or checked.status != ImageStatus.AVAILABLE:
            raise CommandError(checked.problem if checked else "the image was deleted")
        self.stdout.write(
            f"{checked.slug}: {checked.file_bytes} bytes, "
            f"needs {checked.size_mib} MiB of disk"
        )
