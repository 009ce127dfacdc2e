"""GET /linode/types and /linode/types/{id}: public; a plan behind a shut flag is unknown."""

from django.db.models import Prefetch, QuerySet
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.endpoint import Endpoint
from instances.api.filter_fields import TYPE_FIELDS
from instances.api.listing import listing
from instances.api.openapi.operations import operation
from instances.api.serializers.catalogue import type_json
from instances.api.shapes.catalogue import LinodeType
from instances.models import Plan, RegionPrice
from instances.selectors import plans_for


class TypeListView(Endpoint):
    is_public = True

    @operation("List types", LinodeType, fields=TYPE_FIELDS)
    def get(self, request: Request) -> Response:
        seen = [plan.pk for plan in plans_for(self.account_or_none)]
        rows: QuerySet[Plan] = Plan.objects.filter(pk__in=seen)
        rows = rows.prefetch_related(
            Prefetch("region_prices", RegionPrice.objects.select_related("region"))
        )
        return listing(request, rows, TYPE_FIELDS, type_json)


class TypeView(Endpoint):
    is_public = True

    @operation("View a type", LinodeType)
    def get(self, request: Request, type_id: str) -> Response:
        for plan in plans_for(self.account_or_none):
            if plan.slug == type_id:
                return Response(type_json(plan))
        raise Http404
