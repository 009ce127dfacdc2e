"""GET /gpucloud/gpu-models and /inventory, POST /gpucloud/quotes: what can be had."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from instances.actions.quote import quote
from instances.api.endpoint import Endpoint
from instances.api.filter_fields import GPU_MODEL_FIELDS, INVENTORY_FIELDS
from instances.api.listing import listing_of_objects
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object
from instances.api.sale_request import (
    required_problems,
    texts_of,
    unknown_problems,
    with_those_of_the_catalogue,
)
from instances.api.serializers.stock import gpu_model_json, inventory_json, quote_json
from instances.api.shapes import stock as shapes
from instances.capacity import sellable_everywhere
from instances.exceptions import InvalidRequest
from instances.selectors import plans_for, regions_for
from inventory.models import GpuModel

MOST = 100
_FIELDS = ("type", "region", "count")
_REGION = {
    "name": "region",
    "in": "query",
    "description": "Only this region.",
    "schema": {"type": "string"},
}


class GpuModelListView(Endpoint):
    is_public = True

    @operation("List GPU models", shapes.GpuModel, fields=GPU_MODEL_FIELDS)
    def get(self, request: Request) -> Response:
        """Answer the models of the types that the caller may know of."""
        plans = plans_for(self.account_or_none)
        known = {plan.gpu_model_id for plan in plans if plan.gpu_model_id}
        models = GpuModel.objects.filter(pk__in=known).prefetch_related("pci_ids")
        rows = [gpu_model_json(model, plans) for model in models]
        return listing_of_objects(request, rows, GPU_MODEL_FIELDS)


class InventoryListView(Endpoint):
    is_public = True

    @operation(
        "List GPU inventory",
        shapes.InventoryLine,
        fields=INVENTORY_FIELDS,
        parameters=(_REGION,),
    )
    def get(self, request: Request) -> Response:
        """Answer a row per region and GPU type that the caller may know of."""
        plans = [plan for plan in plans_for(self.account_or_none) if plan.cards]
        fits = sellable_everywhere(plans)
        wanted = request.query_params.get("region")
        seen = regions_for(self.account_or_none)
        shown = [r for r in seen if wanted in (None, r.slug)]
        if not shown and wanted is not None:
            raise InvalidRequest([("region", "region is not valid")])
        rows = [
            inventory_json(region, plan, fits.get(region.pk, {}).get(plan.slug, 0))
            for region in shown
            for plan in plans
        ]
        return listing_of_objects(request, rows, INVENTORY_FIELDS)


class QuoteView(Endpoint):
    category = "linodes"
    is_question = True

    @operation("Quote Linodes", shapes.Quote, takes=shapes.QuoteCreate)
    def post(self, request: Request) -> Response:
        body = body_object(request)
        texts, count = texts_of(body, ("type", "region")), _count(body.get("count"))
        problems = required_problems(body, ("type", "region"))
        if count is None:
            reason = f"count must be a whole number from 1 to {MOST}"
            problems.append(("count", reason))
        problems += unknown_problems(body, _FIELDS)
        if problems or count is None:
            raise InvalidRequest(
                with_those_of_the_catalogue(problems, texts, self.account, _FIELDS)
            )
        found = quote(self.account, texts["type"], texts["region"], count)
        return Response(quote_json(found))


def _count(value: Any) -> int | None:
    if value is None:
        return 1
    return value if type(value) is int and 1 <= value <= MOST else None
