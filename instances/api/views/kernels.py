"""GET /linode/kernels and /linode/kernels/{id}: public; what guests here boot."""

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.endpoint import Endpoint
from instances.api.filter_fields import KERNEL_FIELDS
from instances.api.listing import listing_of_objects
from instances.api.openapi.operations import operation
from instances.api.serializers.catalogue import kernels
from instances.api.shapes.catalogue import Kernel


class KernelListView(Endpoint):
    is_public = True

    @operation("List kernels", Kernel, fields=KERNEL_FIELDS)
    def get(self, request: Request) -> Response:
        return listing_of_objects(request, kernels(), KERNEL_FIELDS)


class KernelView(Endpoint):
    is_public = True

    @operation("View a kernel", Kernel)
    def get(self, request: Request, kernel_id: str) -> Response:
        for kernel in kernels():
            if kernel["id"] == kernel_id:
                return Response(kernel)
        raise Http404
