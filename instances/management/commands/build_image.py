"""manage.py build_image: make a disk image from a distribution's own packages."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from instances.image_build import debian12

_BUILDERS = {"debian12": debian12.build}


class Command(BaseCommand):
    help = "Build a bootable cloud image (qcow2, cloud-init), and print its digest."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("system", choices=_BUILDERS)
        parser.add_argument(
            "--to", type=Path, help="file; else in GPUCLOUD_IMAGE_FOLDER"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        system = options["system"]
        target = options["to"] or Path(settings.IMAGE_FOLDER) / f"{system}.qcow2"
        try:
            built = _BUILDERS[system](target.absolute(), self.stderr.write)
        except debian12.BuildFailed as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{built.path}: {built.file_bytes >> 20} MiB, "
            f"a disk of {built.virtual_bytes >> 20} MiB\n"
            f"sha256 {built.digest}\n"
            f"offer it: manage.py add_image linode/{system} {built.path.name} "
            f"{built.digest} --label 'Debian 12' --vendor Debian"
        )
