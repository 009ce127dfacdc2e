"""/placement/groups: groups of Linodes that are to be on different hosts."""

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.actions import placement_groups as actions
from instances.actions.caller import Caller
from instances.api.changes import changes_in
from instances.api.endpoint import Endpoint
from instances.api.filter_fields import PLACEMENT_GROUP_FIELDS
from instances.api.listing import listing
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object, label_problem
from instances.api.placement_request import create_from, members_from
from instances.api.serializers.placement_groups import placement_group_json
from instances.api.shapes import placement_groups as shapes
from instances.models import PlacementGroup
from instances.placement_groups import groups_of


class _PlacementGroupEndpoint(Endpoint):
    category = "linodes"

    @property
    def caller(self) -> Caller:
        return Caller(self.account, self.username)

    def owned(self, group_id: int) -> PlacementGroup:
        """Return the account's placement group; another's is Http404."""
        group = groups_of(self.account).filter(pk=group_id).first()
        if group is None:
            raise Http404
        return group

    def shown(self, group_id: int) -> Response:
        return Response(placement_group_json(self.owned(group_id)))


class PlacementGroupListView(_PlacementGroupEndpoint):
    @operation(
        "List placement groups", shapes.PlacementGroup, fields=PLACEMENT_GROUP_FIELDS
    )
    def get(self, request: Request) -> Response:
        rows = groups_of(self.account)
        return listing(request, rows, PLACEMENT_GROUP_FIELDS, placement_group_json)

    @operation(
        "Create a placement group",
        shapes.PlacementGroup,
        takes=shapes.PlacementGroupCreate,
    )
    def post(self, request: Request) -> Response:
        made = actions.create(self.caller, **create_from(body_object(request)))
        return self.shown(made.pk)


class PlacementGroupView(_PlacementGroupEndpoint):
    @operation("View a placement group", shapes.PlacementGroup)
    def get(self, request: Request, group_id: int) -> Response:
        return self.shown(group_id)

    @operation(
        "Update a placement group",
        shapes.PlacementGroup,
        takes=shapes.PlacementGroupUpdate,
    )
    def put(self, request: Request, group_id: int) -> Response:
        group = self.owned(group_id)
        changes = changes_in(
            body_object(request),
            placement_group_json(group),
            {"label": label_problem},
        )
        if changes:
            actions.rename(self.caller, group, **changes)
        return self.shown(group_id)

    @operation("Delete a placement group")
    def delete(self, request: Request, group_id: int) -> Response:
        actions.delete(self.caller, self.owned(group_id))
        return Response({})


class PlacementGroupAssignView(_PlacementGroupEndpoint):
    @operation(
        "Assign Linodes to a placement group",
        shapes.PlacementGroup,
        takes=shapes.PlacementGroupAssign,
    )
    def post(self, request: Request, group_id: int) -> Response:
        group = self.owned(group_id)
        wanted = members_from(body_object(request), assigns=True)
        actions.assign(self.caller, group, **wanted)
        return self.shown(group_id)


class PlacementGroupUnassignView(_PlacementGroupEndpoint):
    @operation(
        "Unassign Linodes from a placement group",
        shapes.PlacementGroup,
        takes=shapes.PlacementGroupUnassign,
    )
    def post(self, request: Request, group_id: int) -> Response:
        group = self.owned(group_id)
        wanted = members_from(body_object(request), assigns=False)
        actions.unassign(self.caller, group, **wanted)
        return self.shown(group_id)
