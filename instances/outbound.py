"""Connect to an address that a person typed, within a deadline; knows no Django.

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
from contextlib import closing, contextmanager, suppress
from urllib.parse import SplitResult

from instances.exceptions import PrivateAddress, Unreachable

_SOCKET_TIMEOUT_S = 30.0
# Addresses that stand for others, which may be private (NAT64, 6to4, IPv4-compatible and
# IPv4-translated), those that sites once had for themselves, and those that an older Python
# does not know: of documentation (RFC 9637) and of segment routing (RFC 9602).
_TRANSLATED = tuple(
    map(
        ipaddress.IPv6Network,
        (
            *("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16"),
            *("::/96", "::ffff:0:0:0/96", "fec0::/10", "3fff::/20", "5f00::/16"),
        ),
    )
)
# 6to4's routers: whoever is next, which may be one of ours.
_RELAYS = ipaddress.IPv4Network("192.88.99.0/24")


def shown(url: str) -> str:
    """Return an address without what may be secret: user, password and query."""
    bare = url.partition("?")[0].partition("#")[0]
    scheme, mark, rest = bare.partition("://")
    netloc, slash, path = rest.partition("/")
    return f"{scheme}{mark}{netloc.rpartition('@')[2]}{slash}{path}"


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    url: SplitResult,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> http.client.HTTPResponse:
    """Send a request for `url` and return the answer, its body unread."""
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    named = {"Host": url.netloc.rpartition("@")[2], "User-Agent": "gpucloud"}
    connection.request(method, target, body, {**named, **(headers or {})})
    return connection.getresponse()


@contextmanager
def connected(
    url: SplitResult, deadline: float, *, allows_private: bool
) -> Iterator[http.client.HTTPConnection]:
    """Give a connection to the one address that the name was checked by.

    It is cut at the deadline (time.monotonic()), however slowly the other side sends.
    allows_private: loopback and private addresses too, for development. Raises
    Unreachable.
    """
    host, port = url.hostname, url.port
    if url.scheme not in ("https", "http") or not host:
        raise Unreachable(f"{shown(url.geturl())}: only http and https can be fetched.")
    port = port or (443 if url.scheme == "https" else 80)
    address = _address_of(host, port, allows_private=allows_private)
    left_s = max(0.001, deadline - time.monotonic())
    # A handshake is not cut, but takes no longer than this altogether.
    wait_s = min(left_s, _SOCKET_TIMEOUT_S)
    connection = http.client.HTTPConnection(host, port, timeout=wait_s)
    with closing(connection):
        # An answer that ends with its connection has taken the socket from it.
        opened = _open(connection, address, is_secret=url.scheme == "https")
        cut = threading.Timer(deadline - time.monotonic(), _cut, [opened])
        cut.daemon = True
        cut.start()
        try:
            yield connection
        finally:
            cut.cancel()


def _open(
    connection: http.client.HTTPConnection, address: str, *, is_secret: bool
) -> socket.socket:
    host = connection.host
    try:
        plain = socket.create_connection((address, connection.port), connection.timeout)
        connection.sock = plain
        if is_secret:
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(plain, server_hostname=host)
    except OSError as error:
        raise Unreachable(f"{host} cannot be reached: {error}.") from error
    return connection.sock


def _cut(opened: socket.socket) -> None:
    with suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)


def _address_of(host: str, port: int, *, allows_private: bool) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"{host} is not a name that is known: {error}.") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not allows_private and not all(map(is_public, addresses)):
        raise PrivateAddress(f"{host} is inside a private network")
    return addresses[0]


def is_public(address: str) -> bool:
    """Say whether an address is one of the open internet, and stands for no other."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in network for network in _TRANSLATED):
            return False
    elif ip in _RELAYS:
        return False
    return ip.is_global and not ip.is_multicast
