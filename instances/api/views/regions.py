"""GET /regions and /regions/{id}: public; GPUs show only to who may have them."""

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.endpoint import Endpoint
from instances.api.filter_fields import REGION_FIELDS
from instances.api.gpu_regions import gpu_region_ids
from instances.api.listing import listing
from instances.api.openapi.operations import operation
from instances.api.parsing import is_storable
from instances.api.serializers.catalogue import region_json
from instances.api.shapes import catalogue as shapes
from instances.selectors import regions_for
from inventory.models import Region


class RegionListView(Endpoint):
    is_public = True

    @operation("List regions", shapes.Region, fields=REGION_FIELDS)
    def get(self, request: Request) -> Response:
        with_gpus = gpu_region_ids(self.account_or_none)

        def build(region: Region) -> shapes.Region:
            return region_json(region, has_gpus=region.pk in with_gpus)

        return listing(request, regions_for(self.account_or_none), REGION_FIELDS, build)


class RegionView(Endpoint):
    is_public = True

    @operation("View a region", shapes.Region)
    def get(self, request: Request, region_id: str) -> Response:
        # A path may hold %00, which PostgreSQL takes for an error, not for a stranger.
        known = is_storable(region_id)
        seen = regions_for(self.account_or_none)
        region = seen.filter(slug=region_id).first() if known else None
        if region is None:
            raise Http404
        has_gpus = region.pk in gpu_region_ids(self.account_or_none)
        return Response(region_json(region, has_gpus=has_gpus))
