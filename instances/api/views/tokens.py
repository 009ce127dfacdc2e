"""GET, POST, PUT and DELETE /profile/tokens: the personal access tokens of the user."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from instances import limits, token_scopes, tokens
from instances.api import wire
from instances.api.changes import changes_in, text_of
from instances.api.endpoint import Endpoint
from instances.api.errors import Problem
from instances.api.filter_fields import TOKEN_FIELDS
from instances.api.listing import listing
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object
from instances.api.serializers.profile import token_json, token_use_json
from instances.api.shapes import profile as shapes
from instances.exceptions import InvalidRequest
from instances.limits import refuse_more
from instances.models import ApiToken

_LABEL = text_of(100)
_LONGEST_SCOPES = 500


class _TokensOfTheUser(Endpoint):
    category = "account"

    def tokens(self) -> QuerySet[ApiToken]:
        return tokens.valid_tokens_of(self.account, self.token.user)

    def owned(self, token_id: int) -> ApiToken:
        token = self.tokens().filter(pk=token_id).first()
        if token is None:
            raise Http404
        return token


class TokenListView(_TokensOfTheUser):
    @operation("List personal access tokens", shapes.Token, fields=TOKEN_FIELDS)
    def get(self, request: Request) -> Response:
        return listing(request, self.tokens(), TOKEN_FIELDS, token_json)

    @operation("Create a personal access token", shapes.Token, takes=shapes.TokenCreate)
    def post(self, request: Request) -> Response:
        label, scopes, expires_at = _checked(body_object(request), self.token)
        secret = tokens.new_secret()
        with transaction.atomic():
            refuse_more(self.token.user, self.tokens(), limits.TOKENS, "API tokens")
            token = tokens.issue(
                self.account,
                self.token.user,
                label,
                secret,
                scopes=scopes,
                expires_at=expires_at,
            )
        return Response(token_json(token, secret))


class TokenView(_TokensOfTheUser):
    @operation("View a personal access token", shapes.Token)
    def get(self, request: Request, token_id: int) -> Response:
        return Response(token_json(self.owned(token_id)))

    @operation("Rename a personal access token", shapes.Token, takes=shapes.TokenUpdate)
    def put(self, request: Request, token_id: int) -> Response:
        token = self.owned(token_id)
        changes = changes_in(body_object(request), token_json(token), {"label": _LABEL})
        if changes:
            token.label = changes["label"]
            token.save(update_fields=["label"])
        return Response(token_json(token))

    @operation("Revoke a personal access token")
    def delete(self, request: Request, token_id: int) -> Response:
        tokens.revoke(self.owned(token_id))
        return Response({})


class TokenUseListView(_TokensOfTheUser):
    @operation("List when tokens were used", shapes.TokenUse, fields=TOKEN_FIELDS)
    def get(self, request: Request) -> Response:
        return listing(request, self.tokens(), TOKEN_FIELDS, token_use_json)


def _checked(
    body: Mapping[str, Any], used: ApiToken
) -> tuple[str, str, datetime | None]:
    """Return label, scopes and expiry of the new token. Raises InvalidRequest."""
    problems: list[Problem] = [
        (name[:100], "There is no such field")
        for name in body
        if name not in ("label", "scopes", "expiry")
    ]
    label, scopes, expiry = body.get("label"), body.get("scopes"), body.get("expiry")
    if problem := _LABEL(label):
        problems.append(("label", problem))
    if problem := _scopes_problem(scopes, used):
        problems.append(("scopes", problem))
    expires_at = _moment(expiry)
    if expiry is not None and expires_at is None:
        problems.append(
            ("expiry", "expiry must be in the future, like 2030-01-31T12:00:00 (UTC)")
        )
    elif used.expires_at and (expires_at is None or expires_at > used.expires_at):
        # Whoever steals a token that ends soon must not make one that does not.
        ends = wire.time_of(used.expires_at)
        problems.append(
            ("expiry", f"expiry must be {ends} or earlier: the token you use ends then")
        )
    if problems:
        raise InvalidRequest(problems)
    kept = used.scopes if scopes is None else token_scopes.normalised(str(scopes))
    return str(label), kept, expires_at


def _scopes_problem(scopes: Any, used: ApiToken) -> str | None:
    if scopes is None:
        return None
    if not isinstance(scopes, str) or len(scopes) > _LONGEST_SCOPES:
        return f"scopes must be a string of at most {_LONGEST_SCOPES} characters"
    try:
        wanted = token_scopes.normalised(scopes)
    except ValueError as error:
        found = f"{str(error)[:50]!r} is no scope" if str(error) else "scopes is empty"
        return f"{found}: write CATEGORY:read_only, CATEGORY:read_write or *"
    if more := token_scopes.exceeding(wanted, used.scopes):
        return f"The token you use does not have {', '.join(more)} to give"
    return None


def _moment(expiry: Any) -> datetime | None:
    """Return the moment, None where it is no such thing or over."""
    try:
        moment = wire.time_from(expiry)
    except (TypeError, ValueError):
        return None
    return moment if moment > timezone.now() else None
