"""GET /linode/types and /linode/types/{id}: public; a plan behind a shut flag is unknown."""

from django.db.models import Prefetch, QuerySet
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.endpoint import Endpoint
from instances.api.filter_fields import TYPE_FIELDS
from instances.api.listing import listing
from instances.api.openapi.operations import operation
from instances.api.parsing import is_storable
from instances.api.serializers.catalogue import type_json
from instances.api.shapes.catalogue import LinodeType
from instances.models import Account, Plan, RegionPrice
from instances.selectors import plans_for, regions_for


class TypeListView(Endpoint):
    is_public = True

    @operation("List types", LinodeType, fields=TYPE_FIELDS)
    def get(self, request: Request) -> Response:
        rows = _shown_to(self.account_or_none)
        return listing(request, rows, TYPE_FIELDS, type_json)


class TypeView(Endpoint):
    is_public = True

    @operation("View a type", LinodeType)
    def get(self, request: Request, type_id: str) -> Response:
        rows = _shown_to(self.account_or_none)
        plan = rows.filter(slug=type_id).first() if is_storable(type_id) else None
        if plan is None:
            raise Http404
        return Response(type_json(plan))


def _shown_to(account: Account | None) -> QuerySet[Plan]:
    """Return the plans that it sees, with their prices in the regions that it sees."""
    prices = RegionPrice.objects.filter(region__in=regions_for(account))
    return plans_for(account).prefetch_related(
        Prefetch("region_prices", prices.select_related("region"))
    )
