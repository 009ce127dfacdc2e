"""What a token may do: Linode API v4's scopes, `category:level` or `*`."""

import re

from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from instances.models import ApiToken

ANY = "*"
READ_ONLY = "read_only"
READ_WRITE = "read_write"
_INCLUDED_IN = {READ_ONLY: (READ_ONLY, READ_WRITE, ANY), READ_WRITE: (READ_WRITE, ANY)}


class ScopeTooSmall(APIException):
    """401, not 403: Linode API v4 says so, and only its text and headers tell it apart."""

    status_code = status.HTTP_401_UNAUTHORIZED
    default_detail = "Your OAuth token is not authorized to use this endpoint."
    auth_header = 'Bearer error="insufficient_scope"'


def parse(scopes: str) -> frozenset[str]:
    """Return the single scopes; they are separated by spaces or commas."""
    return frozenset(filter(None, re.split(r"[\s,]+", scopes)))


def needed_for(method: str, category: str) -> str:
    """Return the scope that `method` needs on an endpoint; an empty category needs none."""
    if not category:
        return ANY
    return f"{category}:{READ_ONLY if method in SAFE_METHODS else READ_WRITE}"


def allows(scopes: str, needed: str) -> bool:
    """Say whether a token's scopes hold the needed one; read_write holds read_only."""
    held = parse(scopes)
    if needed == ANY or ANY in held:
        return True
    category, _, level = needed.partition(":")
    return any(f"{category}:{larger}" in held for larger in _INCLUDED_IN[level])


class TokenMay(BasePermission):
    """A valid token whose scopes suffice; none is needed where the endpoint is public."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        token = request.auth
        if not isinstance(token, ApiToken):
            return bool(getattr(view, "is_public", False))
        category = getattr(view, "category", "")
        if not allows(token.scopes, needed_for(request.method or "", category)):
            raise ScopeTooSmall
        return True
