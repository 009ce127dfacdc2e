"""Write the access log: the one place where an AccessEvent is made."""

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from gpucloud_site.access.addresses import address_of
from instances.models import AccessEvent
from inventory.ledger import clock

Kind = AccessEvent.Kind


def record(
    kind: AccessEvent.Kind,
    user: User,
    request: HttpRequest | None = None,
    *,
    actor: str = "",
    reason: str = "",
) -> AccessEvent:
    """Write down what happened to the access of `user`, by themselves if no actor is named."""
    return _made(kind, user.get_username(), user, request, actor=actor, reason=reason)


def record_attempt(
    kind: AccessEvent.Kind, typed_name: str, request: HttpRequest
) -> AccessEvent:
    """Write down an attempt in somebody's name, whether or not anybody has that name."""
    user = User.objects.filter(username=typed_name).first()
    return _made(kind, typed_name, user, request)


def _made(
    kind: AccessEvent.Kind,
    name: str,
    user: User | None,
    request: HttpRequest | None,
    **words: str,
) -> AccessEvent:
    return AccessEvent.objects.create(
        at=clock(),
        kind=kind,
        user=user,
        username=user.get_username() if user else "",
        name_digest=salted_hmac(__name__, name, algorithm="sha256").hexdigest(),
        address=address_of(request) if request else None,
        **words,
    )
