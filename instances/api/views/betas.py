"""GET /betas, and GET, POST and DELETE /account/betas: what may be tried, and what is."""

from typing import Any

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from flags.betas import betas_for, enrol, enrolments_of, leave, open_betas_for
from flags.models import BetaEnrolment
from instances.api.endpoint import Endpoint
from instances.api.errors import Problem
from instances.api.filter_fields import ACCOUNT_BETA_FIELDS, BETA_FIELDS
from instances.api.listing import listing
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object, is_storable
from instances.api.serializers.betas import account_beta_json, beta_json
from instances.api.shapes import betas as shapes
from instances.exceptions import InvalidRequest


class _BetaEndpoint(Endpoint):
    category = "account"


class BetaListView(_BetaEndpoint):
    @operation("List betas", shapes.Beta, fields=BETA_FIELDS)
    def get(self, request: Request) -> Response:
        return listing(request, betas_for(self.account), BETA_FIELDS, beta_json)


class BetaView(_BetaEndpoint):
    @operation("View a beta", shapes.Beta)
    def get(self, request: Request, beta_id: str) -> Response:
        known = betas_for(self.account)
        beta = known.filter(slug=beta_id).first() if is_storable(beta_id) else None
        if beta is None:
            raise Http404
        return Response(beta_json(beta))


class AccountBetaListView(_BetaEndpoint):
    @operation(
        "List betas of the account", shapes.AccountBeta, fields=ACCOUNT_BETA_FIELDS
    )
    def get(self, request: Request) -> Response:
        rows = enrolments_of(self.account)
        return listing(request, rows, ACCOUNT_BETA_FIELDS, account_beta_json)

    @operation("Enrol in a beta", takes=shapes.BetaEnrol)
    def post(self, request: Request) -> Response:
        body = body_object(request)
        beta_id: Any = body.get("id")
        problems: list[Problem] = [
            (name[:100], "There is no such field") for name in body if name != "id"
        ]
        beta = None
        if beta_id in (None, ""):
            problems.insert(0, ("id", "id is required"))
        elif isinstance(beta_id, str):
            beta = open_betas_for(self.account).filter(slug=beta_id).first()
        if beta is None and not problems:
            problems.append(("id", "A beta by that ID that goes on was not found"))
        if problems or beta is None:
            raise InvalidRequest(problems)
        enrol(self.account, beta, self.actor)
        return Response({})


class AccountBetaView(_BetaEndpoint):
    @operation("View a beta of the account", shapes.AccountBeta)
    def get(self, request: Request, enrolled_beta_id: str) -> Response:
        return Response(account_beta_json(self._found(enrolled_beta_id)))

    @operation("Leave a beta")
    def delete(self, request: Request, enrolled_beta_id: str) -> Response:
        """Linode has none: there a beta is left by a ticket."""
        leave(self.account, self._found(enrolled_beta_id).beta)
        return Response({})

    def _found(self, beta_id: str) -> BetaEnrolment:
        rows = enrolments_of(self.account).filter(beta__slug=beta_id)
        enrolment = rows.first() if is_storable(beta_id) else None
        if enrolment is None:
            raise Http404
        return enrolment
