"""GET /profile: whose token this is; any valid token may ask."""

from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.endpoint import Endpoint
from instances.api.serializers.account import profile_json


class ProfileView(Endpoint):
    def get(self, request: Request) -> Response:
        return Response(profile_json(self.token.user))
