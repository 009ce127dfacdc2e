"""GET, POST, PUT and DELETE /gpucloud/webhooks, and the log of each: pushed events.

Their scope is `events`: what reads no events sends none away either.
"""

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.actions import webhooks as actions
from instances.api.changes import changes_in
from instances.api.endpoint import Endpoint
from instances.api.errors import Problem
from instances.api.filter_fields import DELIVERY_FIELDS, WEBHOOK_FIELDS
from instances.api.listing import listing
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object
from instances.api.serializers.webhooks import delivery_json, webhook_json
from instances.api.shapes import webhooks as shapes
from instances.exceptions import InvalidRequest
from instances.models import Webhook, WebhookDelivery

_CHECKS = {
    "url": actions.url_problem,
    "actions": actions.actions_problem,
    "status": actions.status_problem,
}


class _WebhookEndpoint(Endpoint):
    category = "events"

    def webhooks(self) -> QuerySet[Webhook]:
        return Webhook.objects.filter(account=self.account).order_by("pk")

    def owned(self, webhook_id: int) -> Webhook:
        webhook = self.webhooks().filter(pk=webhook_id).first()
        if webhook is None:
            raise Http404
        return webhook


class WebhookListView(_WebhookEndpoint):
    @operation("List webhooks", shapes.Webhook, fields=WEBHOOK_FIELDS)
    def get(self, request: Request) -> Response:
        return listing(request, self.webhooks(), WEBHOOK_FIELDS, webhook_json)

    @operation("Create a webhook", shapes.WebhookMade, takes=shapes.WebhookCreate)
    def post(self, request: Request) -> Response:
        body = body_object(request)
        url, wanted = body.get("url"), body.get("actions", [])
        problems: list[Problem] = []
        if problem := actions.url_problem(url):
            problems.append(("url", problem))
        if problem := actions.actions_problem(wanted):
            problems.append(("actions", problem))
        problems += [
            (name[:100], "There is no such field")
            for name in body
            if name not in ("url", "actions")
        ]
        if problems:
            raise InvalidRequest(problems)
        made, secret = actions.create(self.account, str(url), wanted, self.actor)
        return Response({**webhook_json(made), "secret": secret})


class WebhookView(_WebhookEndpoint):
    @operation("View a webhook", shapes.Webhook)
    def get(self, request: Request, webhook_id: int) -> Response:
        return Response(webhook_json(self.owned(webhook_id)))

    @operation("Change a webhook", shapes.Webhook, takes=shapes.WebhookUpdate)
    def put(self, request: Request, webhook_id: int) -> Response:
        webhook = self.owned(webhook_id)
        changes = changes_in(body_object(request), webhook_json(webhook), _CHECKS)
        if changes:
            webhook = actions.change(webhook, changes)
        return Response(webhook_json(webhook))

    @operation("Delete a webhook")
    def delete(self, request: Request, webhook_id: int) -> Response:
        actions.delete(self.owned(webhook_id))
        return Response({})


class WebhookDeliveryListView(_WebhookEndpoint):
    @operation(
        "List deliveries of a webhook", shapes.WebhookDelivery, fields=DELIVERY_FIELDS
    )
    def get(self, request: Request, webhook_id: int) -> Response:
        rows = WebhookDelivery.objects.filter(webhook=self.owned(webhook_id))
        return listing(request, rows, DELIVERY_FIELDS, delivery_json)
