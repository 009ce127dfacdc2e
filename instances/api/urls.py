"""The API's addresses below /v4 and /v4beta; each with and without a trailing slash.

Nothing redirects: a 301 turns a client's POST into a GET.
"""

from django.urls import URLPattern, path

from instances.api.endpoint import Endpoint
from instances.api.views.availability import (
    AvailabilityListView,
    RegionAvailabilityView,
)
from instances.api.views.console import ConsoleView
from instances.api.views.events import EventListView, EventSeenView, EventView
from instances.api.views.images import ImageListView, ImageView
from instances.api.views.instances import InstanceListView, InstanceView
from instances.api.views.profile import ProfileView
from instances.api.views.quotas import QuotaListView
from instances.api.views.regions import RegionListView, RegionView
from instances.api.views.reservations import ReservationListView, ReservationView
from instances.api.views.types import TypeListView, TypeView


def _both(route: str, view: type[Endpoint]) -> list[URLPattern]:
    # With the slash first: an image's id may hold slashes, and would take it in.
    return [path(f"{route}/", view.as_view()), path(route, view.as_view())]


urlpatterns = [
    *_both("regions", RegionListView),
    *_both("regions/availability", AvailabilityListView),
    *_both("regions/<str:region_id>", RegionView),
    *_both("regions/<str:region_id>/availability", RegionAvailabilityView),
    *_both("linode/types", TypeListView),
    *_both("linode/types/<str:type_id>", TypeView),
    *_both("images", ImageListView),
    *_both("images/<path:image_id>", ImageView),
    *_both("linode/instances", InstanceListView),
    *_both("linode/instances/<int:instance_id>", InstanceView),
    *_both("account/events", EventListView),
    *_both("account/events/<int:event_id>", EventView),
    *_both("account/events/<int:event_id>/seen", EventSeenView),
    *_both("profile", ProfileView),
    *_both("gpucloud/quotas", QuotaListView),
    *_both("gpucloud/reservations", ReservationListView),
    *_both("gpucloud/reservations/<int:reservation_id>", ReservationView),
    *_both("gpucloud/instances/<int:instance_id>/console", ConsoleView),
]
