"""Who may read metrics and the details of health: never the public."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

# Behind a proxy every request comes from its address, which is often this machine's.
_OF_PROXIES = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-Ip")


def may_monitor(request: HttpRequest) -> bool:
    """Say whether the request has the token, or comes straight from an allowed network."""
    return _has_token(request) or _is_near(request)


def _has_token(request: HttpRequest) -> bool:
    word, _, given = request.headers.get("Authorization", "").partition(" ")
    wanted = settings.METRICS_TOKEN
    return (
        bool(wanted)
        and word.lower() == "bearer"
        and constant_time_compare(given.strip(), wanted)
    )


def _is_near(request: HttpRequest) -> bool:
    if any(name in request.headers for name in _OF_PROXIES):
        return False
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        # A socket of this machine, which a proxy listens behind.
        return False
    return any(address in network for network in settings.METRICS_NETWORKS)
