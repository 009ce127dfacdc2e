"""GET /gpucloud/instances/{id}/console: what the guest wrote on its serial console."""

from http import HTTPStatus

from django.http import HttpResponse
from rest_framework.request import Request

from instances.api.endpoint import Endpoint
from instances.api.openapi.operations import operation
from instances.api.views.instances import owned_instance
from instances.console import read_console


class ConsoleView(Endpoint):
    category = "linodes"

    @operation(
        "Read the serial console", str, refuses=(HTTPStatus.SERVICE_UNAVAILABLE,)
    )
    def get(self, request: Request, instance_id: int) -> HttpResponse:
        """Answer with plain text, the last 64 KiB; blocks while the host is asked."""
        text = read_console(owned_instance(self.account, instance_id))
        return HttpResponse(text, content_type="text/plain; charset=utf-8")
