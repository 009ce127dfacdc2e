"""When a session ends: too long idle, too old, or ended for its person by somebody.

That a changed password ends all others is Django's own doing, and that a person who was
deactivated has none.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from gpucloud_site.access.log import Kind, record
from inventory.ledger import clock

# When the session began, when it was last found to be the person's own, when last used.
_BEGAN = "gpucloud_began"
_OWN_SINCE = "gpucloud_own_since"
_SEEN = "gpucloud_seen"
# A write for each request would be one too many: a session may end this much early.
_SEEN_EVERY = timedelta(seconds=60)

Answer = Callable[[HttpRequest], HttpResponse]


def begin(request: HttpRequest, **_: Any) -> None:
    """Note when the session began; Django's signal user_logged_in calls this."""
    now = clock().isoformat()
    request.session.update({_BEGAN: now, _OWN_SINCE: now, _SEEN: now})


def end_all(
    user: User,
    request: HttpRequest | None = None,
    *,
    actor: str = "",
    reason: str = "",
) -> None:
    """End every session of `user` that there is now, wherever it is."""
    record(Kind.SESSIONS_ENDED, user, request, actor=actor, reason=reason)


def end_others(request: HttpRequest, user: User, reason: str) -> None:
    """End every session of `user` but the one of the request, who is the same person."""
    end_all(user, request, reason=reason)
    request.session[_OWN_SINCE] = clock().isoformat()


def end_what_is_over(get_response: Answer) -> Answer:
    """Middleware: have nobody go on in a session that is over."""

    def answer(request: HttpRequest) -> HttpResponse:
        if settings.SESSION_COOKIE_NAME in request.COOKIES and isinstance(
            request.user, User
        ):
            now = timezone.now()
            if _is_over(request, now):
                logout(request)
            elif _is_by_a_person(request):
                _see(request, now)
        return get_response(request)

    return answer


def _is_over(request: HttpRequest, now: datetime) -> bool:
    if _BEGAN not in request.session:
        return True
    age = now - _stamp(request, _BEGAN)
    ended_at = getattr(request.user, "sessions_ended_at", None)
    return age > timedelta(seconds=settings.SESSION_MAX_S) or (
        ended_at is not None and ended_at >= _stamp(request, _OWN_SINCE)
    )


def _stamp(request: HttpRequest, name: str) -> datetime:
    return datetime.fromisoformat(request.session[name])


def _is_by_a_person(request: HttpRequest) -> bool:
    """Say so of all but pages that ask for news of themselves, as one left open does."""
    return not (request.method == "GET" and "HX-Request" in request.headers)


def _see(request: HttpRequest, now: datetime) -> None:
    """Keep the session alive: Django ends one that was not saved for SESSION_COOKIE_AGE."""
    idle = now - _stamp(request, _SEEN)
    if idle > min(_SEEN_EVERY, timedelta(seconds=settings.SESSION_COOKIE_AGE / 2)):
        request.session[_SEEN] = now.isoformat()
