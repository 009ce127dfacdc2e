"""Fills a database so that the lab can be used: schema, catalogue, hosts, accounts."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.local.django import Django
from deploy.local.private_file import read_json_object, write_private_json

REGION = "us-east"
TINY_IMAGE = "gpucloud/tiny"
CARDS_READY_S = 180
# The virtual host is small: none of it is set aside but what its own OS needs.
RESERVED = (
    *("--reserve-cpus-per-node", "0"),
    *("--reserve-memory-mib-per-node", "256"),
)


def migrate(django: Django) -> None:
    """Bring the schema up to date."""
    django.manage("migrate", "--noinput")


def load_catalogue(django: Django) -> None:
    """Load regions, plans and images, those of the lab too, and the roles of staff."""
    django.manage("load_catalogue", "--lab")
    django.manage("load_roles")


def collect_static(django: Django) -> None:
    """Gather the files that the web server serves itself."""
    django.manage("collectstatic", "--noinput")


def enrol(django: Django, name: str, libvirt_uri: str) -> None:
    """Have the host in the inventory; reads its hardware through libvirt."""
    django.manage(
        "enrol_host", libvirt_uri, "--region", REGION, "--name", name, *RESERVED
    )


def set_up_guests(django: Django, host_name: str, tiny_disk: Path) -> None:
    """Give the host's guests a network, and offer the image that reports what it got."""
    django.manage(
        *("set_up_guests", host_name, "--network", "gpucloud"),
        *("--subnet", "10.77.0.0/24", "--gateway", "10.77.0.1"),
        *("--first", "10.77.0.10", "--last", "10.77.0.99"),
    )
    folder = Path(django.env["GPUCLOUD_IMAGE_FOLDER"])
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(tiny_disk, folder / "tiny.qcow2")
    digest = hashlib.sha256(tiny_disk.read_bytes()).hexdigest()
    django.manage(
        *("add_image", TINY_IMAGE, "tiny.qcow2", digest, "--position", "3"),
        *("--label", "Seed reader (tiny)", "--vendor", "gpucloud", "--description"),
        "Boots from a disk of its own and prints its seed on the serial console.",
    )


def wait_for_cards(django: Django) -> None:
    """Wait until no card waits for its check any more, so that it can be sold."""
    django.manage("wait_for_cards", "--look-first", "--timeout", str(CARDS_READY_S))


def bootstrap(django: Django, secrets: Mapping[str, Any]) -> None:
    """Make the database match the secrets: staff login, accounts, tokens."""
    wanted = {"staff": secrets["staff"], "tokens": secrets["tokens"]}
    django.manage("bootstrap_lab", stdin=json.dumps(wanted))


def is_loaded(django: Django, version: str) -> bool:
    """Say whether this version of the code has loaded its data into this database."""
    state = read_json_object(django.layout.state)
    return state.get("loaded") == _loaded(django, version)


def remember_loaded(django: Django, version: str) -> None:
    """Keep in mind what `is_loaded` asks."""
    state = read_json_object(django.layout.state)
    state["loaded"] = _loaded(django, version)
    write_private_json(django.layout.state, state)


def _loaded(django: Django, version: str) -> list[str]:
    return [django.env["DATABASE_URL"], version]
