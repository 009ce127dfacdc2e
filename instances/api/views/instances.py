"""GET, POST, PUT and DELETE /linode/instances: the caller's own machines."""

from typing import Any

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.actions.delete import delete
from instances.actions.launch import launch
from instances.actions.update import update
from instances.api.changes import changes_in
from instances.api.create_request import (
    IDEMPOTENCY_KEY,
    idempotency_key,
    is_list_of_strings,
    order_from,
)
from instances.api.endpoint import Endpoint
from instances.api.filter_fields import INSTANCE_FIELDS
from instances.api.listing import listing
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object, label_problem
from instances.api.serializers.instances import instance_json
from instances.api.shapes import instances as shapes
from instances.exceptions import IdempotencyConflict
from instances.models import Account, Instance
from instances.selectors import instances_of, listed_instances_of


def owned_instance(account: Account, instance_id: int) -> Instance:
    """Return the account's live instance; another's or an ended one is Http404."""
    instance = instances_of(account).filter(pk=instance_id).first()
    if instance is None:
        raise Http404
    return instance


class InstanceListView(Endpoint):
    category = "linodes"

    @operation("List Linodes", shapes.Linode, fields=INSTANCE_FIELDS)
    def get(self, request: Request) -> Response:
        rows = listed_instances_of(self.account)
        return listing(request, rows, INSTANCE_FIELDS, instance_json)

    @operation(
        "Create a Linode",
        shapes.Linode,
        takes=shapes.LinodeCreate,
        parameters=(IDEMPOTENCY_KEY,),
    )
    def post(self, request: Request) -> Response:
        key = idempotency_key(request.headers.get("Idempotency-Key"))
        order = order_from(body_object(request), self.account, self.username, key)
        instance = launch(order)
        if instance.is_ended:
            raise IdempotencyConflict(
                "The Linode that this Idempotency-Key made is gone. Use a new key."
            )
        return Response(instance_json(owned_instance(self.account, instance.pk)))


class InstanceView(Endpoint):
    category = "linodes"

    @operation("View a Linode", shapes.Linode)
    def get(self, request: Request, instance_id: int) -> Response:
        return Response(instance_json(owned_instance(self.account, instance_id)))

    @operation("Update a Linode", shapes.Linode, takes=shapes.LinodeUpdate)
    def put(self, request: Request, instance_id: int) -> Response:
        instance = owned_instance(self.account, instance_id)
        changes = changes_in(
            body_object(request),
            instance_json(instance),
            {
                "label": label_problem,
                "tags": _tags_problem,
                "watchdog_enabled": _watchdog_problem,
            },
        )
        if changes:
            update(instance, self.username, **changes)
            instance = owned_instance(self.account, instance_id)
        return Response(instance_json(instance))

    @operation("Delete a Linode")
    def delete(self, request: Request, instance_id: int) -> Response:
        delete(owned_instance(self.account, instance_id), self.actor, self.username)
        return Response({})


def _watchdog_problem(value: Any) -> str | None:
    known = isinstance(value, bool)
    return None if known else "watchdog_enabled must be true or false"


def _tags_problem(value: Any) -> str | None:
    return None if is_list_of_strings(value) else "tags must be a list of strings"
