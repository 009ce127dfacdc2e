"""Push events to webhooks: at least once each, with growing pauses, until a deadline.

The rows of what is to be sent are made by the database, in the event's own transaction
(migration webhooks). An attempt is counted before it begins and fences what is written
after it, so a worker that dies in between leaves its delivery due again, with the same id.
"""

import http.client
import json
import time
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from instances.choices import DeliveryState, EntityType, EventAction, EventStatus
from instances.event_document import event_json, event_of
from instances.exceptions import PrivateAddress, Unreachable
from instances.models import Event, Webhook, WebhookDelivery
from instances.outbound import ask, connected, shown
from instances.sealing import SecretLost
from instances.webhook_secrets import opened, signature

# About half a day with the pauses below.
MOST_FAILURES = 20
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 10, 3600
# A worker goes to the next webhook after this, so that a slow one does not keep others.
_RUN_S = 20
# From when a worker that was to send is taken for dead: a run, the last answer's time
# and what the resolver of names takes are less.
_LEASE_S = 120

_TAKE = """
WITH due AS MATERIALIZED ( -- or a plan may run it, with its LIMIT, once a row
    SELECT w.id FROM instances_webhook w
     WHERE w.disabled_at IS NULL AND w.not_before <= statement_timestamp()
       AND w.busy_until <= statement_timestamp()
       AND EXISTS (SELECT FROM instances_webhookdelivery d
                    WHERE d.webhook_id = w.id AND d.state = 'pending'
                      AND d.due_at <= statement_timestamp())
     ORDER BY w.busy_until, w.id
     LIMIT greatest(0, %(most)s - (
           SELECT count(*) FROM instances_webhook
            WHERE busy_until > statement_timestamp()))
       FOR NO KEY UPDATE OF w SKIP LOCKED)
UPDATE instances_webhook
   SET busy_until = statement_timestamp() + make_interval(secs => %(lease)s)
 WHERE id IN (SELECT id FROM due)
RETURNING id
"""
# Those tried least first: one that its receiver never takes must not keep the others.
_BEGIN = """
UPDATE instances_webhookdelivery
   SET attempts = attempts + 1,
       due_at = statement_timestamp() + make_interval(secs => %(lease)s)
 WHERE id = (
    SELECT d.id FROM instances_webhookdelivery d
      JOIN instances_webhook w ON w.id = d.webhook_id
     WHERE w.id = %(webhook)s AND w.disabled_at IS NULL
       AND w.not_before <= statement_timestamp()
       AND d.state = 'pending' AND d.due_at <= statement_timestamp()
     ORDER BY d.attempts, d.id LIMIT 1 FOR UPDATE OF d SKIP LOCKED)
RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """http_status: of the answer, None without one. problem: empty if it was taken."""

    http_status: int | None
    problem: str


def take_due() -> list[int]:
    """Return the ids of webhooks for a worker each, which nobody else gets meanwhile.

    As many as WEBHOOKS_AT_ONCE allows in all: they share the workers with launches.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, {"lease": _LEASE_S, "most": settings.WEBHOOKS_AT_ONCE})
        return [pk for (pk,) in cursor.fetchall()]


def send_due(webhook_id: int) -> int:
    """Send what is due to one webhook, until one fails; returns how many were delivered.

    Blocks for _RUN_S and one answer more at most.
    """
    mine = Webhook.objects.filter(pk=webhook_id)
    mine.update(busy_until=Now() + timedelta(seconds=_LEASE_S))
    until = time.monotonic() + _RUN_S
    sent = 0
    while time.monotonic() < until:
        delivery = _begin(webhook_id)
        if delivery is None:
            break
        outcome = _attempt(delivery)
        _record(delivery, outcome)
        if outcome.problem:
            break
        sent += 1
    mine.update(busy_until=Now())
    return sent


def give_up_late() -> int:
    """Fail the deliveries that are past their deadline; returns how many."""
    patience = timedelta(seconds=settings.WEBHOOK_DEADLINE_S)
    return WebhookDelivery.objects.filter(
        state=DeliveryState.PENDING, due_at__lte=Now(), created_at__lte=Now() - patience
    ).update(state=DeliveryState.FAILED, ended_at=Now())


def pause_after(failures: int) -> timedelta:
    """Return how long to wait after so many failures in a row, from 1."""
    doubled = _FIRST_PAUSE_S * 2 ** min(failures - 1, 10)
    return timedelta(seconds=min(doubled, _LONGEST_PAUSE_S))


def _begin(webhook_id: int) -> WebhookDelivery | None:
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN, {"lease": _LEASE_S, "webhook": webhook_id})
        found = cursor.fetchone()
    if found is None:
        return None
    return WebhookDelivery.objects.select_related("webhook").filter(pk=found[0]).first()


def _attempt(delivery: WebhookDelivery) -> Outcome:
    try:
        status = _post(delivery)
    except PrivateAddress as error:
        return Outcome(None, f"{error.public_message}.")
    except Unreachable as error:
        return Outcome(None, error.public_message)
    except SecretLost:
        return Outcome(None, "The secret cannot be read any more: make a new webhook.")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Outcome(None, f"There was no answer: {error}.")
    if 200 <= status < 300:
        return Outcome(status, "")
    return Outcome(status, f"The answer was {status}, and must be 200 to 299.")


def _post(delivery: WebhookDelivery) -> int:
    """Send it and return the answer's status; a redirect is not followed."""
    hook, delivery_id = delivery.webhook, str(delivery.uuid)
    body = json.dumps(body_of(delivery), separators=(",", ":")).encode()
    timestamp = int(timezone.now().timestamp())
    headers = {
        "Content-Type": "application/json",
        "Connection": "close",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(
            opened(hook.sealed_secret), delivery_id, timestamp, body
        ),
    }
    url = urlsplit(hook.url)
    deadline = time.monotonic() + settings.WEBHOOK_TIMEOUT_S
    allows_private = settings.WEBHOOKS_PRIVATE
    with connected(url, deadline, allows_private=allows_private) as peer:
        return ask(peer, "POST", url, body, headers).status


def body_of(delivery: WebhookDelivery) -> dict[str, object]:
    """Return what is sent: the event as it was when the delivery was made."""
    event = event_of(delivery.event)
    return {
        "type": event.action,
        "webhook_id": delivery.webhook_id,
        "event": event_json(event),
    }


@transaction.atomic
def _record(delivery: WebhookDelivery, outcome: Outcome) -> None:
    """Write how an attempt ended, unless it was given up or another was begun since."""
    hook = (
        Webhook.objects.select_for_update(no_key=True)
        .filter(pk=delivery.webhook_id)
        .first()
    )
    if hook is None:
        return
    changes: dict[str, object] = {
        "http_status": outcome.http_status,
        "problem": outcome.problem[:300],
    }
    if outcome.problem:
        changes["due_at"] = Now() + pause_after(delivery.attempts)
    else:
        changes |= {"state": DeliveryState.DELIVERED, "ended_at": Now()}
    is_ours = WebhookDelivery.objects.filter(
        pk=delivery.pk, state=DeliveryState.PENDING, attempts=delivery.attempts
    ).update(**changes)
    if is_ours:
        _count(hook, outcome)


def _count(hook: Webhook, outcome: Outcome) -> None:
    mine = Webhook.objects.filter(pk=hook.pk)
    if not outcome.problem:
        mine.filter(failures__gt=0).update(failures=0)
        return
    failures = hook.failures + 1
    mine.update(failures=failures, not_before=Now() + pause_after(failures))
    if failures >= MOST_FAILURES and mine.filter(disabled_at=None).update(
        disabled_at=Now()
    ):
        _tell_disabled(hook, outcome)


def _tell_disabled(hook: Webhook, outcome: Outcome) -> None:
    Event.objects.create(
        account_id=hook.account_id,
        action=EventAction.WEBHOOK_DISABLED,
        status=EventStatus.NOTIFICATION,
        entity_type=EntityType.WEBHOOK,
        entity_id=hook.pk,
        entity_label=shown(hook.url)[:64],
        message=f"{MOST_FAILURES} deliveries failed in a row. {outcome.problem} Enable "
        "the webhook again when that is repaired."[:500],
        percent_complete=100,
    )
