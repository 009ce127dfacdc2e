"""GET /gpucloud/quotas: how many GPUs of each model the account uses and may use."""

from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.endpoint import Endpoint
from instances.api.filter_fields import QUOTA_FIELDS
from instances.api.listing import listing_of_objects
from instances.api.openapi.operations import operation
from instances.api.serializers.reservations import quota_json
from instances.api.shapes.reservations import Quota
from instances.quotas import gpu_use
from instances.selectors import plans_for


class QuotaListView(Endpoint):
    category = "account"

    @operation("List GPU quotas", Quota, fields=QUOTA_FIELDS)
    def get(self, request: Request) -> Response:
        """Answer a row per GPU model that the account may know of, or uses."""
        known = {plan.gpu_model_id for plan in plans_for(self.account)}
        uses = [u for u in gpu_use(self.account) if u.used or u.gpu_model.pk in known]
        return listing_of_objects(request, [quota_json(u) for u in uses], QUOTA_FIELDS)
