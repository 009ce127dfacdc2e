"""Make, change and delete an account's webhooks."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from instances.choices import EventAction
from instances.limits import refuse_more
from instances.models import Account, Webhook, WebhookDelivery
from instances.outbound import is_public
from instances.webhook_secrets import new_secret, sealed

MOST_WEBHOOKS = 10
_LONGEST_URL = 500


@transaction.atomic
def create(
    account: Account, url: str, actions: Sequence[str], actor: str
) -> tuple[Webhook, str]:
    """Return the webhook and its secret, which is shown this once. actor: user:NAME.

    Raises InvalidRequest if the account has as many as it may.
    """
    mine = Webhook.objects.filter(account=account)
    refuse_more(account, mine, MOST_WEBHOOKS, "webhooks")
    secret = new_secret()
    made = Webhook.objects.create(
        account=account,
        url=url,
        actions=sorted(set(actions)),
        sealed_secret=sealed(secret),
        created_by=actor,
    )
    made.refresh_from_db()
    return made, secret


def change(webhook: Webhook, changes: dict[str, Any]) -> Webhook:
    """Set url, actions and status (enabled or disabled) as far as they are named.

    Enabled again it starts with a clean slate; what waits goes on.
    """
    fields: dict[str, Any] = {k: changes[k] for k in ("url",) if k in changes}
    if "actions" in changes:
        fields["actions"] = sorted(set(changes["actions"]))
    status = changes.get("status")
    if status == "enabled":
        fields |= {"disabled_at": None, "failures": 0, "not_before": Now()}
    elif status == "disabled" and webhook.disabled_at is None:
        fields["disabled_at"] = Now()
    Webhook.objects.filter(pk=webhook.pk).update(**fields, updated_at=Now())
    return Webhook.objects.get(pk=webhook.pk)


@transaction.atomic
def delete(webhook: Webhook) -> None:
    """Delete it and its log; an event of the moment waits, and then passes it by."""
    mine = Webhook.objects.filter(pk=webhook.pk)
    list(mine.select_for_update().values("pk"))
    WebhookDelivery.objects.filter(webhook=webhook).delete()
    mine.delete()


def url_problem(url: Any) -> str | None:
    """Return what is wrong with where a webhook is to send, None if nothing is.

    Names are resolved when something is sent, each time anew.
    """
    if not isinstance(url, str) or not 1 <= len(url) <= _LONGEST_URL:
        return f"url must be a string of 1 to {_LONGEST_URL} characters"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "url must be printable ASCII without spaces: encode other characters"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "url is not a URL"
    return _target_problem(parts)


def _target_problem(parts: SplitResult) -> str | None:
    host = parts.hostname
    schemes = ("https", "http") if settings.WEBHOOKS_PRIVATE else ("https",)
    if parts.scheme not in schemes or not host:
        return "url must begin with https:// and name a host"
    if parts.username is not None or parts.fragment:
        return "url must have no user, password or fragment"
    if not settings.WEBHOOKS_PRIVATE and _is_private(host):
        return "url must not lead into a private network"
    return None


def _is_private(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return not is_public(host)


def actions_problem(actions: Any) -> str | None:
    if not isinstance(actions, list):
        return "actions must be a list of actions of events"
    unknown = [a for a in actions if a not in EventAction.values]
    if unknown:
        return f"There is no action {str(unknown[0])[:40]}: see the actions of events"
    return None


def status_problem(status: Any) -> str | None:
    return None if status in ("enabled", "disabled") else "status: enabled or disabled"
