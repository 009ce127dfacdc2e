"""GET /openapi.json: the API's own description, OpenAPI 3.1."""

from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.endpoint import Endpoint
from instances.api.openapi.document import document


class DocumentView(Endpoint):
    is_public = True

    def get(self, request: Request) -> Response:
        return Response(document())
