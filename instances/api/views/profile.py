"""GET and PUT /profile: whose token this is; any valid token may ask."""

from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.changes import changes_in
from instances.api.emails import email_problem
from instances.api.endpoint import Endpoint
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object
from instances.api.serializers.profile import profile_json
from instances.api.shapes import profile as shapes


class ProfileView(Endpoint):
    @operation("View the profile", shapes.Profile)
    def get(self, request: Request) -> Response:
        return Response(profile_json(self.token.user))

    @operation("Update the profile", shapes.Profile, takes=shapes.ProfileUpdate)
    def put(self, request: Request) -> Response:
        user = self.token.user
        changes = changes_in(
            body_object(request), profile_json(user), {"email": email_problem}
        )
        if changes:
            user.email = changes["email"]
            user.save(update_fields=["email"])
        return Response(profile_json(user))
