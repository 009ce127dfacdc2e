"""Webhooks and their deliveries as plain dicts."""

from instances.api import wire
from instances.api.shapes import webhooks as shapes
from instances.choices import DeliveryState
from instances.models import Webhook, WebhookDelivery


def webhook_json(webhook: Webhook) -> shapes.Webhook:
    return {
        "id": webhook.pk,
        "url": webhook.url,
        "actions": webhook.actions,
        "status": "enabled" if webhook.disabled_at is None else "disabled",
        "failures": webhook.failures,
        "created": wire.time_of(webhook.created_at),
        "updated": wire.time_of(webhook.updated_at),
    }


def delivery_json(delivery: WebhookDelivery) -> shapes.WebhookDelivery:
    is_pending = delivery.state == DeliveryState.PENDING
    return {
        "id": str(delivery.uuid),
        "event_id": delivery.event["id"],
        "action": delivery.event["action"],
        "event_status": delivery.event["status"],
        "status": delivery.state,
        "attempts": delivery.attempts,
        "http_status": delivery.http_status,
        "error": delivery.problem or None,
        "created": wire.time_of(delivery.created_at),
        "next_attempt": wire.time_of(delivery.due_at) if is_pending else None,
        "ended": wire.time_of(delivery.ended_at) if delivery.ended_at else None,
    }
