"""GET, POST and DELETE /linode/instances: the caller's own machines."""

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.actions.delete import delete
from instances.actions.launch import launch
from instances.api.create_request import idempotency_key, order_from
from instances.api.endpoint import Endpoint
from instances.api.filter_fields import INSTANCE_FIELDS
from instances.api.listing import listing
from instances.api.parsing import body_object
from instances.api.serializers.instances import instance_json
from instances.exceptions import IdempotencyConflict
from instances.models import Account, Instance
from instances.selectors import instances_of


def owned_instance(account: Account, instance_id: int) -> Instance:
    """Return the account's live instance; another's or an ended one is Http404."""
    instance = instances_of(account).filter(pk=instance_id).first()
    if instance is None:
        raise Http404
    return instance


class InstanceListView(Endpoint):
    category = "linodes"

    def get(self, request: Request) -> Response:
        rows = instances_of(self.account)
        return listing(request, rows, INSTANCE_FIELDS, instance_json)

    def post(self, request: Request) -> Response:
        key = idempotency_key(request.headers.get("Idempotency-Key"))
        order = order_from(body_object(request), self.account, self.username, key)
        instance = launch(order)
        if instance.is_ended:
            raise IdempotencyConflict(
                "The Linode that this Idempotency-Key made is gone. Use a new key."
            )
        return Response(instance_json(instance))


class InstanceView(Endpoint):
    category = "linodes"

    def get(self, request: Request, instance_id: int) -> Response:
        return Response(instance_json(owned_instance(self.account, instance_id)))

    def delete(self, request: Request, instance_id: int) -> Response:
        delete(owned_instance(self.account, instance_id), self.actor, self.username)
        return Response({})
