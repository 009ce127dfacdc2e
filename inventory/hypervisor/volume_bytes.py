"""The driver's bytes to and from volumes, and the proof that a wipe came to its end.

libvirt goes on with a wipe when its caller is gone, tells nobody of its end, and would
begin again from the start for the next who asks. It overwrites a volume from its first
byte to its last, so what is written into the last sector before is there until the end. A
volume beside it, the witness, says that this was done: zeros alone prove no wipe.

Connections and volumes are libvirt's; this module needs no more of it.
"""

from typing import Any

from lxml import etree

from inventory.exceptions import HypervisorError

_SECTOR = 512
_SEAL = b"gpucloud: not wiped to the end\n".ljust(_SECTOR, b"\xff")
# A smaller one is wiped in no time.
_LARGE_BYTES = 64 << 20


def send(connection: Any, volume: Any, data: bytes, offset: int) -> None:
    """Write bytes into a volume."""
    stream = connection.newStream()
    volume.upload(stream, offset, len(data))
    view = memoryview(data)
    place = 0

    def next_part(_stream: object, wanted: int, _opaque: object) -> bytes:
        nonlocal place
        part = bytes(view[place : place + wanted])
        place += len(part)
        return part

    stream.sendAll(next_part, None)
    stream.finish()


def receive(connection: Any, volume: Any, offset: int, length: int) -> bytes:
    """Read bytes of a volume. Raises HypervisorError if the host sends more than that."""
    stream = connection.newStream()
    volume.download(stream, offset, length)
    content = bytearray()

    def keep(_stream: Any, data: bytes, _opaque: Any) -> None:
        content.extend(data)
        if len(content) > length:
            raise HypervisorError(f"more than the {length} bytes that were asked for")

    stream.recvAll(keep, None)
    stream.finish()
    return bytes(content)


def witness_of(volume: str) -> str:
    """Return the name of the volume that says that this one was sealed."""
    return f"{volume}.sealed"


def is_large(volume: Any) -> bool:
    """Say whether a wipe of the volume may outlast its caller."""
    return _file_bytes(volume) >= _LARGE_BYTES


def seal(connection: Any, volume: Any) -> None:
    """Write what only a wipe that comes to its end takes away."""
    send(connection, volume, _SEAL, _last_sector(volume))


def is_wiped(connection: Any, volume: Any) -> bool:
    """Say whether a volume that was sealed was wiped to its end since."""
    # The first sector, too: no disk of a guest begins with zeros.
    return not any(
        any(receive(connection, volume, offset, _SECTOR))
        for offset in (0, _last_sector(volume))
    )


def _last_sector(volume: Any) -> int:
    return _file_bytes(volume) // _SECTOR * _SECTOR - _SECTOR


def _file_bytes(volume: Any) -> int:
    """Return the bytes of the volume itself, of which a guest may see more."""
    root = etree.fromstring(volume.XMLDesc())
    return int(root.findtext("physical") or root.findtext("capacity") or 0)
