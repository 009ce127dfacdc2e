"""Who calls: the personal access token of the Authorization header."""

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from instances import tokens
from instances.models import ApiToken

INVALID_TOKEN = "Invalid Token"  # noqa: S105 -- Linode API v4's words, no secret


class BearerToken(BaseAuthentication):
    """Sets request.user to the token's user and request.auth to the ApiToken."""

    def authenticate(self, request: Request) -> tuple[object, ApiToken] | None:
        header = request.headers.get("Authorization", "").strip()
        if not header:
            return None
        scheme, _, secret = header.partition(" ")
        token = tokens.find(secret.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise AuthenticationFailed(INVALID_TOKEN)
        tokens.note_used(token, timezone.now())
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"
