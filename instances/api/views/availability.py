"""GET /regions/availability and /regions/{id}/availability: what fits now, by plan."""

from collections.abc import Iterable, Mapping

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.endpoint import Endpoint
from instances.api.filter_fields import AVAILABILITY_FIELDS
from instances.api.listing import listing_of_objects
from instances.api.openapi.operations import operation
from instances.api.parsing import is_storable
from instances.api.serializers.reservations import availability_json
from instances.api.shapes.reservations import RegionAvailability
from instances.capacity import sellable_by_plan, sellable_everywhere
from instances.models import Plan
from instances.selectors import plans_for, regions_for
from inventory.models import Region


def _rows(
    region: Region, plans: Iterable[Plan], fits: Mapping[str, int]
) -> list[RegionAvailability]:
    return [availability_json(region, plan, fits.get(plan.slug, 0)) for plan in plans]


class AvailabilityListView(Endpoint):
    is_public = True

    @operation(
        "List regions' availability", RegionAvailability, fields=AVAILABILITY_FIELDS
    )
    def get(self, request: Request) -> Response:
        """Answer a row per region and plan that the caller may know of."""
        plans = plans_for(self.account_or_none)
        fits = sellable_everywhere(plans)
        rows = [
            row
            for region in regions_for(self.account_or_none)
            for row in _rows(region, plans, fits.get(region.pk, {}))
        ]
        return listing_of_objects(request, rows, AVAILABILITY_FIELDS)


class RegionAvailabilityView(Endpoint):
    is_public = True

    @operation("View a region's availability", list[RegionAvailability])
    def get(self, request: Request, region_id: str) -> Response:
        """Answer a bare array: Linode API v4, "Get a region's availability"."""
        # A path may hold %00, which PostgreSQL takes for an error, not for a stranger.
        known = is_storable(region_id)
        seen = regions_for(self.account_or_none)
        region = seen.filter(slug=region_id).first() if known else None
        if region is None:
            raise Http404
        plans = plans_for(self.account_or_none)
        return Response(_rows(region, plans, sellable_by_plan(region, plans)))
