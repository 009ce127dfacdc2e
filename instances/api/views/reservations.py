"""GET, POST and DELETE /gpucloud/reservations: capacity kept for a later create."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.actions.reserve import ReservationOrder, release_reservation, reserve
from instances.api import wire
from instances.api.create_request import IDEMPOTENCY_KEY, idempotency_key
from instances.api.endpoint import Endpoint
from instances.api.filter_fields import RESERVATION_FIELDS
from instances.api.listing import listing
from instances.api.openapi.operations import operation
from instances.api.parsing import body_object
from instances.api.sale_request import (
    required_problems,
    texts_of,
    unknown_problems,
    with_those_of_the_catalogue,
)
from instances.api.serializers.reservations import reservation_json
from instances.api.shapes import reservations as shapes
from instances.exceptions import InvalidRequest, ReservationEnded
from instances.models import Account, Reservation
from instances.selectors import reservations_of

_FIELDS = ("type", "region", "expires")


def _owned(account: Account, reservation_id: int) -> Reservation:
    row = reservations_of(account).filter(pk=reservation_id).first()
    if row is None:
        raise Http404
    return row


class ReservationListView(Endpoint):
    category = "linodes"

    @operation("List reservations", shapes.Reservation, fields=RESERVATION_FIELDS)
    def get(self, request: Request) -> Response:
        rows = reservations_of(self.account)
        return listing(request, rows, RESERVATION_FIELDS, reservation_json)

    @operation(
        "Reserve capacity",
        shapes.Reservation,
        takes=shapes.ReservationCreate,
        parameters=(IDEMPOTENCY_KEY,),
    )
    def post(self, request: Request) -> Response:
        key = idempotency_key(request.headers.get("Idempotency-Key"))
        body = body_object(request)
        reservation = reserve(self._order(body, key))
        return Response(reservation_json(reservation))

    def _order(self, body: Mapping[str, Any], key: str) -> ReservationOrder:
        problems = required_problems(body, _FIELDS)
        texts = texts_of(body, _FIELDS)
        expires_at = _moment(texts["expires"])
        if expires_at is None:
            problems.append(
                ("expires", "expires must be like 2026-01-31T12:00:00, UTC")
            )
        problems += unknown_problems(body, _FIELDS)
        if problems or expires_at is None:
            raise InvalidRequest(
                with_those_of_the_catalogue(problems, texts, self.account, _FIELDS)
            )
        return ReservationOrder(
            account=self.account,
            plan=texts["type"],
            region=texts["region"],
            expires_at=expires_at,
            actor=self.actor,
            idempotency_key=key,
        )


def _moment(text: str) -> datetime | None:
    try:
        return wire.time_from(text)
    except ValueError:
        return None


class ReservationView(Endpoint):
    category = "linodes"

    @operation("View a reservation", shapes.Reservation)
    def get(self, request: Request, reservation_id: int) -> Response:
        return Response(reservation_json(_owned(self.account, reservation_id)))

    @operation("Release a reservation")
    def delete(self, request: Request, reservation_id: int) -> Response:
        try:
            release_reservation(reservation_id, self.actor, self.account)
        except ReservationEnded:
            # Another's, or one that there never was, is not even that.
            _owned(self.account, reservation_id)
            raise
        return Response({})
