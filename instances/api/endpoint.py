"""The view that every endpoint is: JSON in and out, the token's scopes, its headers."""

from typing import Any, ClassVar

from django.utils.cache import patch_vary_headers
from rest_framework.exceptions import Throttled
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import SAFE_METHODS
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from instances.api import audit_trail, rate_limit, scopes
from instances.api.openapi.operations import EndpointSchema
from instances.api.parsing import BoundedJSONParser
from instances.api.rate_limit import RateUse
from instances.models import Account, ApiChange, ApiToken
from instances.token_scopes import parse


class AlwaysJSON(BaseContentNegotiation):
    """Whatever Accept says: there is one form, and a 406 would help nobody."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((p for p in parsers if p.media_type == media_type), None)

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


class Endpoint(APIView):
    """category: of the scope that is needed, empty for none. is_public: needs no token.

    is_question: whatever the method, it changes nothing, and is no entry of the trail.
    """

    category: ClassVar[str] = ""
    is_public: ClassVar[bool] = False
    is_question: ClassVar[bool] = False

    _rate: RateUse | None = None
    _change: ApiChange | None = None

    permission_classes = [scopes.TokenMay]
    parser_classes = [BoundedJSONParser]
    renderer_classes = [JSONRenderer]
    content_negotiation_class = AlwaysJSON
    schema = EndpointSchema()

    @property
    def account(self) -> Account:
        """The account that the token acts for; only where a token is needed."""
        return self.token.account

    @property
    def account_or_none(self) -> Account | None:
        """The account that the token acts for; None for a caller without one."""
        token = self.request.auth
        return token.account if isinstance(token, ApiToken) else None

    @property
    def token(self) -> ApiToken:
        token = self.request.auth
        if not isinstance(token, ApiToken):
            raise TypeError("this endpoint is public: ask for account_or_none")
        return token

    @property
    def username(self) -> str:
        return self.token.user.get_username()

    @property
    def actor(self) -> str:
        """Who did it, as jobs and the cards' ledger write it."""
        return f"user:{self.username}"

    def perform_authentication(self, request: Request) -> None:
        """Find the token and count the request, also one that will be refused."""
        super().perform_authentication(request)
        if isinstance(request.auth, ApiToken):
            self._rate = rate_limit.count(request.auth)
            if self._rate is not None and self._rate.is_over:
                raise Throttled(wait=self._rate.wait_s)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        method = request.method or ""
        is_change = method not in SAFE_METHODS and not self.is_question
        if is_change and hasattr(self, method.lower()):
            self._change = audit_trail.begin(request, self.token)

    def get_permissions(self) -> Any:
        # A browser asks OPTIONS before it sends the token.
        return [] if self.request.method == "OPTIONS" else super().get_permissions()

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        """Answer with the Allow header."""
        return Response({})

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Any:
        # In Linode API v4 "unknown" is what tells a bad token from too small a scope.
        token = getattr(request, "_auth", None)
        held = token.scopes if isinstance(token, ApiToken) else "unknown"
        response["X-OAuth-Scopes"] = " ".join(sorted(parse(held)))
        response["X-Accepted-OAuth-Scopes"] = scopes.needed_for(
            request.method or "", self.category
        )
        if isinstance(token, ApiToken):
            response["Cache-Control"] = "no-store"
        else:
            # Some of what is public shows more to who has a token.
            patch_vary_headers(response, ["Authorization"])
        for name, value in (self._rate.headers if self._rate else {}).items():
            response[name] = value
        if self._change is not None:
            answer = getattr(response, "data", None)
            audit_trail.finish(self._change, response.status_code, answer)
        return super().finalize_response(request, response, *args, **kwargs)
