"""Fetch a file from an address that a person typed, within limits; knows no Django.

Nothing inside our own network can be reached by it: each name is resolved once, and the
connection goes to the very address that was checked.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from instances.exceptions import ImageUnusable

SCHEMES = ("https", "http")
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_SOCKET_TIMEOUT_S = 30.0
_PART_BYTES = 1 << 20
# Addresses that stand for others, which may be private (NAT64, 6to4, IPv4-compatible and
# IPv4-translated), and those that sites once had for themselves.
_TRANSLATED = tuple(
    map(
        ipaddress.IPv6Network,
        (
            *("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16"),
            *("::/96", "::ffff:0:0:0/96", "fec0::/10"),
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Limits:
    """allows_private: loopback and private addresses too, for development."""

    max_bytes: int
    timeout_s: float
    allows_private: bool = False


def fetched(url: str, limits: Limits) -> Iterator[bytes]:
    """Give the content of `url` part by part. Raises ImageUnusable, which says why."""
    deadline = time.monotonic() + limits.timeout_s
    for _ in range(_MOST_REDIRECTS + 1):
        try:
            with _connected(urlsplit(url), limits, deadline) as connection:
                response = _ask(connection, urlsplit(url))
                if response.status in _REDIRECTS:
                    url = urljoin(url, response.headers.get("Location", ""))
                    continue
                if response.status != http.client.OK:
                    raise ImageUnusable(f"{shown(url)} answered {response.status}.")
                yield from _parts(response, limits, deadline)
                return
        except (OSError, http.client.HTTPException, ValueError) as error:
            if time.monotonic() >= deadline:
                raise ImageUnusable(
                    f"The file was not fetched within {limits.timeout_s:g} s "
                    "(GPUCLOUD_IMAGE_FETCH_TIMEOUT_S)."
                ) from error
            raise ImageUnusable(f"{shown(url)} could not be read: {error}.") from error
    raise ImageUnusable(f"{shown(url)}: more than {_MOST_REDIRECTS} redirects.")


def shown(url: str) -> str:
    """Return an address without what may be secret: user, password and query."""
    bare = url.partition("?")[0].partition("#")[0]
    scheme, mark, rest = bare.partition("://")
    netloc, slash, path = rest.partition("/")
    return f"{scheme}{mark}{netloc.rpartition('@')[2]}{slash}{path}"


def _parts(
    response: http.client.HTTPResponse, limits: Limits, deadline: float
) -> Iterator[bytes]:
    too_large = ImageUnusable(
        f"The file is larger than {limits.max_bytes >> 20} MiB "
        "(GPUCLOUD_IMAGE_MAX_MIB)."
    )
    if (response.length or 0) > limits.max_bytes:
        raise too_large
    received = 0
    while part := response.read(_PART_BYTES):
        received += len(part)
        if received > limits.max_bytes:
            raise too_large
        if time.monotonic() >= deadline:
            raise TimeoutError
        yield part
    if response.length:
        raise OSError("the connection ended before the file did")


def _ask(
    connection: http.client.HTTPConnection, url: SplitResult
) -> http.client.HTTPResponse:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    host = url.netloc.rpartition("@")[2]
    connection.request("GET", target, headers={"Host": host, "User-Agent": "gpucloud"})
    return connection.getresponse()


@contextmanager
def _connected(
    url: SplitResult, limits: Limits, deadline: float
) -> Iterator[http.client.HTTPConnection]:
    """Give a connection to the one address that the name was checked by.

    It is cut at the deadline, however slowly the other side sends.
    """
    host, port = url.hostname, url.port
    if url.scheme not in SCHEMES or not host:
        raise ImageUnusable(
            f"{shown(url.geturl())}: only http and https can be fetched."
        )
    port = port or (443 if url.scheme == "https" else 80)
    address = _address_of(host, port, limits)
    connection = http.client.HTTPConnection(host, port, timeout=_SOCKET_TIMEOUT_S)
    cut = threading.Timer(max(0, deadline - time.monotonic()), _cut, [connection])
    cut.daemon = True
    cut.start()
    try:
        _open(connection, address, is_secret=url.scheme == "https")
        yield connection
    finally:
        cut.cancel()
        connection.close()


def _open(
    connection: http.client.HTTPConnection, address: str, *, is_secret: bool
) -> None:
    host = connection.host
    try:
        plain = socket.create_connection((address, connection.port), _SOCKET_TIMEOUT_S)
        connection.sock = plain
        if is_secret:
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(plain, server_hostname=host)
    except OSError as error:
        raise ImageUnusable(f"{host} cannot be reached: {error}.") from error


def _cut(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _address_of(host: str, port: int, limits: Limits) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ImageUnusable(f"{host} is not a name that is known: {error}.") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not limits.allows_private and not all(map(is_public, addresses)):
        raise ImageUnusable(
            f"{host} is inside a private network, from where nothing is fetched. "
            "Put the file into the image folder instead."
        )
    return addresses[0]


def is_public(address: str) -> bool:
    """Say whether an address is one of the open internet, and stands for no other."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in network for network in _TRANSLATED):
            return False
    return ip.is_global and not ip.is_multicast
