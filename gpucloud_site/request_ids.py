"""Each request has an id: the proxy's or its own; answers and lines of the log tell it."""

import re
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from instances.log_context import about

HEADER = "X-Request-Id"
# Whatever a client sends goes into every line of the log.
_GOOD = re.compile(r"[A-Za-z0-9._-]{8,64}")

Answer = Callable[[HttpRequest], HttpResponse]


def request_ids(answer: Answer) -> Answer:
    """Return the middleware."""

    def with_id(request: HttpRequest) -> HttpResponse:
        given = request.headers.get(HEADER, "")
        request_id = given if _GOOD.fullmatch(given) else uuid.uuid4().hex
        request.request_id = request_id  # type: ignore[attr-defined]
        with about(request=request_id):
            response = answer(request)
        response[HEADER] = request_id
        return response

    return with_id
