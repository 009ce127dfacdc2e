"""GET /images and /images/{id}: public; an id holds a slash, plain or as %2F."""

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.endpoint import Endpoint
from instances.api.filter_fields import IMAGE_FIELDS
from instances.api.listing import listing
from instances.api.openapi.operations import operation
from instances.api.parsing import is_storable
from instances.api.serializers.catalogue import image_json
from instances.api.shapes.catalogue import Image
from instances.selectors import images


class ImageListView(Endpoint):
    category = "images"
    is_public = True

    @operation("List images", Image, fields=IMAGE_FIELDS)
    def get(self, request: Request) -> Response:
        return listing(request, images(), IMAGE_FIELDS, image_json)


class ImageView(Endpoint):
    category = "images"
    is_public = True

    @operation("View an image", Image)
    def get(self, request: Request, image_id: str) -> Response:
        # A path may hold %00, which PostgreSQL takes for an error, not for a stranger.
        found = (
            images().filter(slug=image_id).first() if is_storable(image_id) else None
        )
        if found is None:
            raise Http404
        return Response(image_json(found))
