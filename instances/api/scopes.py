"""What a token may do at an endpoint, and the answer where it may not."""

from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from instances.models import ApiToken
from instances.token_scopes import ANY, READ_ONLY, READ_WRITE, allows

# Who writes where no category says otherwise; a read-only token must find no gap.
_WRITES_BY_DEFAULT = "account"


class ScopeTooSmall(APIException):
    """401, not 403: Linode API v4 says so, and only its text and headers tell it apart."""

    status_code = status.HTTP_401_UNAUTHORIZED
    default_detail = "Your OAuth token is not authorized to use this endpoint."
    auth_header = 'Bearer error="insufficient_scope"'


def needed_for(method: str, category: str) -> str:
    """Return the scope that `method` needs; reading without a category needs none: `*`."""
    if method not in SAFE_METHODS:
        return f"{category or _WRITES_BY_DEFAULT}:{READ_WRITE}"
    return f"{category}:{READ_ONLY}" if category else ANY


class TokenMay(BasePermission):
    """A valid token whose scopes suffice; reading what is public needs none."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        token, method = request.auth, request.method or ""
        if not isinstance(token, ApiToken):
            return method in SAFE_METHODS and bool(getattr(view, "is_public", False))
        needed = needed_for(method, getattr(view, "category", ""))
        if needed != ANY and not allows(token.scopes, needed):
            raise ScopeTooSmall
        return True
