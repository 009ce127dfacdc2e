"""GET /gpucloud/usage: what the account used in a month, and what it costs."""

from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.endpoint import Endpoint
from instances.api.filter_fields import USAGE_FIELDS
from instances.api.listing import listing_of_objects
from instances.api.openapi.operations import operation
from instances.api.serializers.usage import usage_json
from instances.api.shapes.usage import Usage
from instances.exceptions import InvalidRequest
from instances.price import Month
from instances.usage_report import usage_of
from inventory.ledger import clock

_MONTH = {
    "name": "month",
    "in": "query",
    "description": "UTC, such as 2026-11; this month if it is not given.",
    "schema": {"type": "string", "pattern": "^2[0-9]{3}-(0[1-9]|1[0-2])$"},
}


class UsageListView(Endpoint):
    category = "account"

    @operation("List usage", Usage, fields=USAGE_FIELDS, parameters=(_MONTH,))
    def get(self, request: Request) -> Response:
        month = _month(request.query_params.get("month"))
        rows = [usage_json(month, line) for line in usage_of(month, self.account)]
        return listing_of_objects(request, rows, USAGE_FIELDS)


def _month(text: str | None) -> Month:
    if text is None:
        return Month.of(clock())
    try:
        return Month.parse(text)
    except ValueError:
        raise InvalidRequest([("month", "Must be like 2026-11")]) from None
