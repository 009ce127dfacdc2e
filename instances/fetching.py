"""Fetch a file from an address that a person typed, within limits; knows no Django."""

import http.client
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from instances.exceptions import ImageUnusable, PrivateAddress, Unreachable
from instances.outbound import ask, connected, shown

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_PART_BYTES = 1 << 20


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
            parts = urlsplit(url)
            with connected(
                parts, deadline, allows_private=limits.allows_private
            ) as connection:
                response = ask(connection, "GET", parts)
                if response.status in _REDIRECTS:
                    url = urljoin(url, response.headers.get("Location", ""))
                    continue
                if response.status != http.client.OK:
                    raise ImageUnusable(f"{shown(url)} answered {response.status}.")
                yield from _parts(response, limits, deadline)
                return
        except PrivateAddress as error:
            raise ImageUnusable(
                f"{error.public_message}, from where nothing is fetched. "
                "Put the file into the image folder instead."
            ) from error
        except (Unreachable, OSError, http.client.HTTPException, ValueError) as error:
            if time.monotonic() >= deadline:
                raise ImageUnusable(
                    f"The file was not fetched within {limits.timeout_s:g} s "
                    "(GPUCLOUD_IMAGE_FETCH_TIMEOUT_S)."
                ) from error
            if isinstance(error, Unreachable):
                raise ImageUnusable(error.public_message) from error
            raise ImageUnusable(f"{shown(url)} could not be read: {error}.") from error
    raise ImageUnusable(f"{shown(url)}: more than {_MOST_REDIRECTS} redirects.")


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
