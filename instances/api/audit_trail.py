"""Write down every change that is asked for by the API: account, token, what, outcome."""

from typing import Any

from django.utils.encoding import escape_uri_path
from rest_framework.request import Request

from instances.models import ApiChange, ApiToken


def begin(request: Request, token: ApiToken) -> ApiChange:
    """Write the request down before it changes anything; one statement."""
    return ApiChange.objects.create(
        account=token.account,
        token=token,
        token_name=str(token),
        username=token.user.get_username(),
        method=request.method or "",
        # As it was sent: what it says may be nothing that the database can hold.
        path=escape_uri_path(request.path)[:300],
    )


def finish(change: ApiChange, status: int, answer: Any) -> None:
    """Add how the request ended and the id of what a POST made; one statement."""
    change.status = status
    if status == 200 and change.method == "POST" and isinstance(answer, dict):
        change.object_id = str(answer.get("id", ""))[:100]
    change.save(update_fields=["status", "object_id"])
