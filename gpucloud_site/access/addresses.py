"""The network address that a request came from, as far as it can be believed."""

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest


def address_of(request: HttpRequest) -> str | None:
    """Return the client's address; None if it is none.

    Each proxy appends whom it was asked by, so that what the client itself wrote into
    X-Forwarded-For stands before what is believed.
    """
    hops = request.headers.get("X-Forwarded-For", "").split(",")
    trusted = settings.TRUSTED_PROXIES
    behind_ours = trusted and len(hops) >= trusted
    found = hops[-trusted].strip() if behind_ours else ""
    try:
        address = ip_address(found or request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return None
    # PostgreSQL's inet knows no zone.
    return str(address).partition("%")[0]
