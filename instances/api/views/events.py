"""GET /account/events, /account/events/{id} and POST .../seen: what happened."""

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.endpoint import Endpoint
from instances.api.filter_fields import EVENT_FIELDS
from instances.api.listing import listing
from instances.api.openapi.operations import operation
from instances.api.shapes import account as shapes
from instances.event_document import event_json
from instances.models import Account, Event


def _events_of(account: Account) -> QuerySet[Event]:
    return Event.objects.filter(account=account)


def _owned_event(account: Account, event_id: int) -> Event:
    event = _events_of(account).filter(pk=event_id).first()
    if event is None:
        raise Http404
    return event


class EventListView(Endpoint):
    category = "events"

    @operation("List events", shapes.Event, fields=EVENT_FIELDS)
    def get(self, request: Request) -> Response:
        return listing(request, _events_of(self.account), EVENT_FIELDS, event_json)


class EventView(Endpoint):
    category = "events"

    @operation("View an event", shapes.Event)
    def get(self, request: Request, event_id: int) -> Response:
        return Response(event_json(_owned_event(self.account, event_id)))


class EventSeenView(Endpoint):
    category = "events"

    @operation("Mark an event as seen")
    def post(self, request: Request, event_id: int) -> Response:
        """Mark the event and every earlier one, as Linode's "Mark an event as seen"."""
        event = _owned_event(self.account, event_id)
        _events_of(self.account).filter(pk__lte=event.pk, seen=False).update(seen=True)
        return Response({})
