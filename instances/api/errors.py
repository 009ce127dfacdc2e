"""Every error's body, as Linode API v4 writes it: {"errors": [{"reason", "field"?}]}."""

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions, status
from rest_framework.response import Response

from instances.api.authentication import INVALID_TOKEN
from instances.exceptions import (
    IdempotencyConflict,
    InstanceBusy,
    InvalidRequest,
    NoCapacity,
    NoRoomToResize,
    QuotaExceeded,
    ReservationEnded,
    TrialOver,
    Vanished,
)
from inventory.exceptions import HypervisorError, NotClaimable, StaleState

NOT_FOUND = "Not found"
_PREFIXES = ("/v4/", "/v4beta/")

_REFUSALS = (
    NoCapacity,
    NoRoomToResize,
    QuotaExceeded,
    InstanceBusy,
    IdempotencyConflict,
    ReservationEnded,
    TrialOver,
)

Problem = tuple[str | None, str]
_OWN_WORDS: dict[type[exceptions.APIException], str] = {
    exceptions.MethodNotAllowed: "Method Not Allowed",
    exceptions.Throttled: "Too many requests",
}


class TooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The request body is too large"


def body_of(problems: Iterable[Problem]) -> dict[str, list[dict[str, str]]]:
    """Return the body for (field, reason) pairs, in their order."""
    return {
        "errors": [
            {"reason": reason, "field": field} if field else {"reason": reason}
            for field, reason in problems
        ]
    }


def handle(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Answer what a view raised; None leaves it to Django, which logs it and answers 500.

    Refusals are 400: the clients repeat a POST on 408, 429 and 502 (API.md, "retry").
    """
    found = _refusal(exc) or _http_error(exc)
    if found is None:
        return None
    code, problems = found
    return Response(body_of(problems), status=code, headers=_headers(exc))


def _refusal(exc: Exception) -> tuple[int, list[Problem]] | None:
    if isinstance(exc, InvalidRequest):
        return status.HTTP_400_BAD_REQUEST, exc.errors
    if isinstance(exc, _REFUSALS):
        return status.HTTP_400_BAD_REQUEST, [(exc.field, exc.public_message)]
    if isinstance(exc, Vanished):
        return status.HTTP_404_NOT_FOUND, [(None, NOT_FOUND)]
    if isinstance(exc, NotClaimable | StaleState):
        # Lost against another request; the customer may simply ask again.
        return status.HTTP_400_BAD_REQUEST, [(None, exc.public_message)]
    if isinstance(exc, HypervisorError):
        return status.HTTP_503_SERVICE_UNAVAILABLE, [(None, exc.public_message)]
    return None


def _http_error(exc: Exception) -> tuple[int, list[Problem]] | None:
    match exc:
        case Http404() | exceptions.NotFound():
            return status.HTTP_404_NOT_FOUND, [(None, NOT_FOUND)]
        case PermissionDenied() | exceptions.PermissionDenied():
            return status.HTTP_403_FORBIDDEN, [(None, "Unauthorized")]
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return status.HTTP_401_UNAUTHORIZED, [(None, INVALID_TOKEN)]
        case exceptions.MethodNotAllowed() | exceptions.Throttled():
            return exc.status_code, [(None, _OWN_WORDS[type(exc)])]
        case exceptions.APIException():
            return exc.status_code, [(None, str(exc.detail))]
    return None


def _headers(exc: Exception) -> dict[str, str]:
    headers = {}
    if challenge := getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = str(challenge)
    if wait := getattr(exc, "wait", None):
        headers["Retry-After"] = str(int(wait))
    return headers


def is_api_path(request: HttpRequest) -> bool:
    """Say whether the request is for the API, so that even Django's own errors are JSON."""
    return f"{request.path_info.rstrip('/')}/".startswith(_PREFIXES)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400: what is refused before a view is chosen."""
    if not is_api_path(request):
        return defaults.bad_request(request, exception)
    return JsonResponse(body_of([(None, "Bad request")]), status=400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403."""
    if not is_api_path(request):
        return defaults.permission_denied(request, exception)
    return JsonResponse(body_of([(None, "Unauthorized")]), status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404: a path that no endpoint has."""
    if not is_api_path(request):
        return defaults.page_not_found(request, exception)
    return JsonResponse(body_of([(None, NOT_FOUND)]), status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: the cause is in the log, never in the answer."""
    if not is_api_path(request):
        return defaults.server_error(request)
    return JsonResponse(body_of([(None, "Internal Server Error")]), status=500)
