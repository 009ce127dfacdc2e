"""What is done to a person's access from outside of the login; audited, with a reason."""

from http import HTTPStatus
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from gpucloud_site.access import factors, sessions
from gpucloud_site.access.log import Kind, record


@transaction.atomic
def reset_second_factor(user: User, actor: str, reason: str) -> bool:
    """Take the second factor from `user` and end their sessions; say whether there was one."""
    if not factors.remove(user):
        return False
    record(Kind.SECOND_FACTOR_RESET, user, actor=actor, reason=reason)
    sessions.end_all(user, actor=actor, reason="second factor reset")
    return True


def log_password_change(
    request: HttpRequest, answer: HttpResponse, user: Any, *, actor: str = ""
) -> None:
    """Log that the password of `user` was changed, if the answer says that it was."""
    if request.method == "POST" and answer.status_code == HTTPStatus.FOUND:
        record(Kind.PASSWORD_CHANGED, user, request, actor=actor)
