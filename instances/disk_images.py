"""Read the header of a disk image: its size for a guest, and what must not be in it; pure.

Source: QEMU docs/interop/qcow2.txt. A backing or data file named in a header would have
the host open a file of the image maker's choice for the guest.
"""

import struct

from instances.exceptions import ImageUnusable

HEADER_BYTES = 104
_MAGIC = b"QFI\xfb"
_EXTERNAL_DATA_FILE = 1 << 2
_SECTOR = 512


def virtual_bytes(header: bytes, form: str, file_bytes: int) -> int:
    """Return the size of the disk that a guest sees.

    header: the file's first HEADER_BYTES. form: raw or qcow2. Raises ImageUnusable.
    """
    if form == "raw":
        if header.startswith(_MAGIC):
            raise ImageUnusable("The file is a qcow2 image; its format here is raw.")
        if file_bytes % _SECTOR or not file_bytes:
            raise ImageUnusable(
                f"The file has {file_bytes} bytes, no multiple of {_SECTOR}: "
                "that is no raw disk."
            )
        return file_bytes
    return _qcow2_bytes(header)


def _qcow2_bytes(header: bytes) -> int:
    if len(header) < HEADER_BYTES or not header.startswith(_MAGIC):
        raise ImageUnusable("The file is no qcow2 image.")
    version, backing_offset = struct.unpack_from(">IQ", header, 4)
    (size,) = struct.unpack_from(">Q", header, 24)
    (encryption,) = struct.unpack_from(">I", header, 32)
    (incompatible,) = struct.unpack_from(">Q", header, 72) if version >= 3 else (0,)
    if version not in (2, 3) or not size:
        raise ImageUnusable(f"Not a qcow2 image that can be used (version {version}).")
    if backing_offset or incompatible & _EXTERNAL_DATA_FILE:
        raise ImageUnusable(
            "The image refers to another file, and only a whole image can be used: "
            "qemu-img convert makes one."
        )
    if encryption:
        raise ImageUnusable("The image is encrypted.")
    return int(size)
