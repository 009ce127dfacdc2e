"""Load the catalogue from its files; what is there already is left as staff made it."""

import tomllib
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import Model

from flags.models import Flag
from instances.models import Image, Plan
from inventory.models import CheckImage, GpuModel, PciId, Region

_FOLDER = Path(__file__).parent / "catalogue"


def load(*, lab: bool) -> dict[str, int]:
    """Add what is missing, all or nothing; returns kind -> rows added."""
    added: dict[str, int] = {}
    with transaction.atomic():
        for name in ("catalogue", "lab") if lab else ("catalogue",):
            data = tomllib.loads((_FOLDER / f"{name}.toml").read_text())
            for kind, count in _load(data).items():
                added[kind] = added.get(kind, 0) + count
    return added


def _load(data: dict[str, list[dict[str, Any]]]) -> dict[str, int]:
    added = {
        "flags": sum(_add(Flag, "name", row) for row in data.get("flags", ())),
        "regions": sum(_add(Region, "slug", row) for row in data.get("regions", ())),
        "GPU models": sum(map(_add_gpu_model, data.get("gpu_models", ()))),
        "check images": sum(
            _add(CheckImage, "slug", row) for row in data.get("check_images", ())
        ),
        "checked models": sum(map(_set_checks, data.get("checked_models", ()))),
        "plans": sum(map(_add_plan, data.get("plans", ()))),
        "images": sum(_add(Image, "slug", row) for row in data.get("images", ())),
    }
    return added


def _add(model: type[Model], key: str, row: dict[str, Any]) -> bool:
    _, is_new = model._default_manager.get_or_create(  # noqa: SLF001 -- any model's
        **{key: row[key]}, defaults=row
    )
    return is_new


def _add_gpu_model(row: dict[str, Any]) -> bool:
    fields = {name: value for name, value in row.items() if name != "pci_ids"}
    model, is_new = GpuModel.objects.get_or_create(slug=row["slug"], defaults=fields)
    for pci_id in row["pci_ids"]:
        PciId.objects.get_or_create(pci_id=pci_id, defaults={"gpu_model": model})
    return is_new


def _set_checks(row: dict[str, Any]) -> bool:
    """Name how a model's cards are checked, where nobody has done so yet."""
    images = {
        name: CheckImage.objects.get(slug=row[name])
        for name in ("scrub_image", "test_image")
    }
    unset = GpuModel.objects.filter(slug=row["slug"], scrub_image=None, test_image=None)
    return bool(unset.update(**{**row, **images}))


def _add_plan(row: dict[str, Any]) -> bool:
    slug = row.get("gpu_model")
    model = GpuModel.objects.get(slug=slug) if slug else None
    return _add(Plan, "slug", {**row, "gpu_model": model})
