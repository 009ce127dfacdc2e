"""POST /linode/instances/{id}/resize: another type, on the same host."""

from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from instances.actions.resize import ResizeOrder, resize
from instances.api.endpoint import Endpoint
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object
from instances.api.shapes.instances import LinodeResize
from instances.api.views.instances import owned_instance
from instances.exceptions import InvalidRequest

_MIGRATIONS = ("cold", "warm")


class InstanceResizeView(Endpoint):
    category = "linodes"

    @operation("Resize a Linode", takes=LinodeResize)
    def post(self, request: Request, instance_id: int) -> Response:
        instance = owned_instance(self.account, instance_id)
        body = body_object(request)
        problems = _problems(body)
        if problems:
            raise InvalidRequest(problems)
        order = ResizeOrder(
            plan=body["type"],
            actor=self.actor,
            username=self.username,
            grows_disk=body.get("allow_auto_disk_resize", True),
        )
        resize(instance, order)
        return Response({})


def _problems(body: Mapping[str, Any]) -> list[tuple[str | None, str]]:
    found: list[tuple[str | None, str]] = []
    if body.get("type") in (None, ""):
        found.append(("type", "type is required"))
    elif not isinstance(body["type"], str):
        found.append(("type", "type must be a string"))
    if not isinstance(body.get("allow_auto_disk_resize", True), bool):
        found.append(
            (
                "allow_auto_disk_resize",
                "allow_auto_disk_resize must be true or false",
            )
        )
    # The guest is off while its cards change: both come to the same.
    if body.get("migration_type", "cold") not in _MIGRATIONS:
        found.append(("migration_type", "migration_type must be cold or warm"))
    known = ("type", "allow_auto_disk_resize", "migration_type")
    found += [(f[:100], "There is no such field") for f in body if f not in known]
    return found
