"""What can be had, where, and for how much, as plain dicts."""

from collections.abc import Iterable
from decimal import Decimal

from django.conf import settings

from instances.actions.quote import Quote
from instances.api import wire
from instances.api.shapes import stock as shapes
from instances.api.shapes.catalogue import Price
from instances.api.shapes.common import Error
from instances.models import Plan
from inventory.models import GpuModel, Region


def gpu_model_json(model: GpuModel, plans: Iterable[Plan]) -> shapes.GpuModel:
    """plans: those that the caller may know of. Needs the model's PCI ids."""
    return {
        "id": model.slug,
        "label": model.name,
        "memory_mib": model.memory_mib,
        "pci_ids": [row.pci_id for row in model.pci_ids.all()],
        "types": [plan.slug for plan in plans if plan.gpu_model_id == model.pk],
    }


def inventory_json(region: Region, plan: Plan, fits: int) -> shapes.InventoryLine:
    """plan: one with cards."""
    assert plan.gpu_model is not None  # noqa: S101 -- a constraint of the table
    return {
        "region": region.slug,
        "type": plan.slug,
        "gpu_model": plan.gpu_model.slug,
        "gpus": plan.cards,
        "available": fits > 0,
        "how_many": fits if settings.API_SHOWS_COUNTS else None,
    }


def quote_json(quote: Quote) -> shapes.Quote:
    refusals: list[Error] = [
        {"reason": refusal.public_message, "field": refusal.field or ""}
        for refusal in quote.refusals
    ]
    hourly, monthly = quote.price_hourly, quote.price_monthly
    return {
        "type": quote.plan.slug,
        "region": quote.region.slug,
        "count": quote.count,
        "gpus": quote.count * quote.plan.cards,
        "fits": not refusals,
        "refusals": refusals,
        "price": _price(hourly, monthly),
        "total": _price(hourly * quote.count, monthly * quote.count),
    }


def _price(hourly: Decimal, monthly: Decimal) -> Price:
    return {"hourly": wire.number_of(hourly), "monthly": wire.number_of(monthly)}
