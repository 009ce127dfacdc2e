"""Throttle logins by the access log, which all web processes share."""

from datetime import datetime, timedelta
from math import ceil
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import ngettext

from gpucloud_site.access.log import Kind, record_attempt
from instances.models import AccessEvent


def begin(kind: AccessEvent.Kind, typed_name: str, request: HttpRequest) -> AccessEvent:
    """Write an attempt down as the failure `kind`, unless it has to wait.

    Whoever was right is told to `settle`. Raises ValidationError, which says when to try
    again, and says the same of a name that nobody has.
    """
    attempt = record_attempt(kind, typed_name, request)
    over = (
        _full_until(attempt, settings.LOGIN_FAILURES, name_digest=attempt.name_digest),
        _full_until(
            attempt, settings.LOGIN_FAILURES_PER_ADDRESS, address=attempt.address
        ),
    )
    until = max(filter(None, over), default=None)
    if until is None:
        return attempt
    _lock_out(attempt)
    wait_s = max(1, ceil((until - attempt.at).total_seconds()))
    raise ValidationError(
        ngettext(
            "Too many failed logins. Try again in %(wait_s)d second.",
            "Too many failed logins. Try again in %(wait_s)d seconds.",
            wait_s,
        ),
        code="locked_out",
        params={"wait_s": wait_s},
    )


def settle(attempt: AccessEvent, kind: AccessEvent.Kind) -> None:
    """Correct what was written down: the attempt was right."""
    attempt.kind = kind
    attempt.save(update_fields=["kind"])


def _window() -> timedelta:
    return timedelta(seconds=settings.LOGIN_WINDOW_S)


def _full_until(attempt: AccessEvent, limit: int, **key: Any) -> datetime | None:
    """Return when a failure of the key is forgotten, if there are as many as the limit.

    Of two attempts at once the one that looks later sees the other, so that no more than
    the limit are judged.
    """
    if None in key.values():
        return None
    others = AccessEvent.objects.filter(
        kind__in=AccessEvent.FAILURES, at__gt=attempt.at - _window(), **key
    ).exclude(pk=attempt.pk)
    limiting = others.order_by("-at").values_list("at", flat=True)[limit - 1 : limit]
    return next((at + _window() for at in limiting), None)


def _lock_out(attempt: AccessEvent) -> None:
    """Log the first of a window; to hammer on a closed door must not fill the table."""
    already = AccessEvent.objects.filter(
        kind=Kind.LOCKED_OUT,
        at__gt=attempt.at - _window(),
        name_digest=attempt.name_digest,
        address=attempt.address,
    )
    if already.exists():
        attempt.delete()
    else:
        settle(attempt, Kind.LOCKED_OUT)
