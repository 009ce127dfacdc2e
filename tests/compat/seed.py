"""python -m tests.compat.seed: fill a lab's database with what the peers' own tests want.

Reads {"tokens": {ACCOUNT: SECRET}, "delays": {VERB: SECONDS}} from standard input. Never
for a shop window: it claims what is not for sale and closes every other region.
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gpucloud_site.settings")
django.setup()

# They load models.
from django.conf import settings  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402

from flags.models import Flag  # noqa: E402
from instances import tokens  # noqa: E402
from instances.models import Account, Image, Plan, RegionPrice  # noqa: E402
from inventory.models import Region  # noqa: E402
from tests.simulated_hosts.board import Board  # noqa: E402
from tests.simulated_hosts.fleet import FleetOrder, simulate  # noqa: E402

REGIONS = {"us-ord": "Chicago, IL", "us-east": "Newark, NJ"}
# slug: label, class, vCPUs, memory and disk in MiB, $ an hour and a month. The first comes
# first in lists: the peers take it for whatever they create.
PLANS = {
    "g6-nanode-1": ("Nanode 1GB", "nanode", 1, 1024, 25600, "0.0075", "5"),
    "g6-standard-1": ("Linode 2GB", "standard", 1, 2048, 51200, "0.018", "12"),
    "g6-standard-4": ("Linode 8GB", "standard", 4, 8192, 163840, "0.072", "48"),
    "g6-standard-6": ("Linode 16GB", "standard", 6, 16384, 327680, "0.144", "96"),
}
IMAGES = {
    "linode/debian12": ("Debian 12", "Debian"),
    "linode/ubuntu24.04": ("Ubuntu 24.04 LTS", "Ubuntu"),
    "linode/alpine3.21": ("Alpine 3.21", "Alpine"),
}
_IMAGE_BYTES = 1 << 20


def seed(wanted: dict[str, Any]) -> None:
    """Make the tables, the rows and the hosts in an empty database."""
    call_command("migrate", interactive=False, verbosity=0)
    call_command("load_catalogue", lab=True)
    Region.objects.exclude(slug__in=REGIONS).update(is_open=False)
    for slug, label in REGIONS.items():
        Region.objects.get_or_create(
            slug=slug, defaults={"label": label, "country": "us"}
        )
        order = FleetOrder(
            1, Board(2, 4), slug, prefix=f"{slug}-", delays=wanted["delays"]
        )
        list(simulate(order, Path(settings.SIMULATED_HOSTS)))
    for slug, plan in PLANS.items():
        _plan(slug, *plan)
    RegionPrice.objects.create(
        plan=Plan.objects.get(slug="g6-standard-1"),
        region=Region.objects.get(slug="us-ord"),
        price_hourly="0.0216",
        price_monthly="14.40",
    )
    for slug, (label, vendor) in IMAGES.items():
        _image(slug, label, vendor)
    Flag.objects.update(everyone=True)
    for name, secret in wanted["tokens"].items():
        _account(name, secret)


def _plan(slug: str, label: str, plan_class: str, *sizes: Any) -> None:
    vcpus, memory_mib, disk_mib, hourly, monthly = sizes
    Plan.objects.create(
        slug=slug,
        label=label,
        plan_class=plan_class,
        vcpus=vcpus,
        memory_mib=memory_mib,
        disk_mib=disk_mib,
        price_hourly=hourly,
        price_monthly=monthly,
        position=0,
    )


def _image(slug: str, label: str, vendor: str) -> None:
    """Offer a disk of zeros but for its name: nobody runs what is on it."""
    content = slug.encode().ljust(_IMAGE_BYTES, b"\0")
    folder = Path(settings.IMAGE_FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    source = f"{slug.partition('/')[2]}.raw"
    (folder / source).write_bytes(content)
    Image.objects.create(
        slug=slug,
        label=label,
        vendor=vendor,
        source=source,
        sha256=hashlib.sha256(content).hexdigest(),
        disk_format="raw",
        file_bytes=len(content),
        virtual_bytes=len(content),
        size_mib=1,
    )


def _account(name: str, secret: str) -> None:
    user = get_user_model().objects.create_user(name, email=f"{name}@example.com")
    account = Account.objects.create(name=name.title(), email=user.email)
    account.members.add(user)
    tokens.issue(account, user, "compat", secret)


if __name__ == "__main__":
    seed(json.load(sys.stdin))
