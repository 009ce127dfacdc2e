"""GET, POST and DELETE /gpucloud/waitlist: to be told when a type fits in a region."""

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.actions.waitlist import join, leave
from instances.api.endpoint import Endpoint
from instances.api.errors import Problem
from instances.api.filter_fields import WAITLIST_FIELDS
from instances.api.listing import listing
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object
from instances.api.serializers.waitlist import entry_json
from instances.api.shapes import waitlist as shapes
from instances.exceptions import InvalidRequest
from instances.models import WaitlistEntry
from instances.waitlist import shown_entries_of

_FIELDS = ("type", "region")


class _WaitlistEndpoint(Endpoint):
    category = "linodes"

    def entries(self) -> QuerySet[WaitlistEntry]:
        return shown_entries_of(self.account)

    def owned(self, entry_id: int) -> WaitlistEntry:
        entry = self.entries().filter(pk=entry_id).first()
        if entry is None:
            raise Http404
        return entry


class WaitlistView(_WaitlistEndpoint):
    @operation("List waitlist entries", shapes.WaitlistEntry, fields=WAITLIST_FIELDS)
    def get(self, request: Request) -> Response:
        return listing(request, self.entries(), WAITLIST_FIELDS, entry_json)

    @operation("Join the waitlist", shapes.WaitlistEntry, takes=shapes.WaitlistJoin)
    def post(self, request: Request) -> Response:
        body = body_object(request)
        problems: list[Problem] = [
            (field, f"{field} is required")
            for field in _FIELDS
            if body.get(field) in (None, "")
        ]
        problems += [
            (field[:100], "There is no such field")
            for field in body
            if field not in _FIELDS
        ]
        if problems:
            raise InvalidRequest(problems)
        plan, region = (
            value if isinstance(value := body[field], str) else "" for field in _FIELDS
        )
        entry_id = join(self.account, plan, region, self.actor)
        return Response(entry_json(self.owned(entry_id)))


class WaitlistEntryView(_WaitlistEndpoint):
    @operation("View a waitlist entry", shapes.WaitlistEntry)
    def get(self, request: Request, entry_id: int) -> Response:
        return Response(entry_json(self.owned(entry_id)))

    @operation("Leave the waitlist")
    def delete(self, request: Request, entry_id: int) -> Response:
        leave(self.owned(entry_id).pk, self.actor)
        return Response({})
