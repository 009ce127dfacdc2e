"""Keep a machine's copies of images: fetched once, checked by digest, named by it."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from instances import fetching
from instances.disk_images import HEADER_BYTES, virtual_bytes
from instances.exceptions import ImageUnusable

_PART_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A whole file with the right digest. file_bytes: its own size."""

    path: Path
    file_bytes: int
    virtual_bytes: int


def local_file(source: str, digest: str, form: str) -> ImageFile:
    """Return this machine's copy of an image, fetching it first if there is none.

    source: an address, or a file's path below the image folder. Blocks as long as
    GPUCLOUD_IMAGE_FETCH_TIMEOUT_S; who wants the same image meanwhile waits and shares it.
    Raises ImageUnusable, and leaves nothing behind.
    """
    path = _cache() / digest
    with _locked(digest):
        if not path.exists():
            _fetch(source, digest, path)
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    return ImageFile(path, size, virtual_bytes(header, form, size))


def forget(digest: str) -> None:
    """Delete this machine's copy of an image, if there is one: it is damaged."""
    with _locked(digest):
        (_cache() / digest).unlink(missing_ok=True)


def forget_all_but(digests: set[str]) -> None:
    """Delete this machine's copies of images that are in no catalogue any more."""
    for path in _cache().iterdir():
        if path.name.partition(".")[0] not in digests:
            path.unlink(missing_ok=True)


def file_below_folder(source: str) -> Path:
    """Return the file that a relative source names. Raises ImageUnusable."""
    folder = Path(settings.IMAGE_FOLDER).resolve()
    path = (folder / source).resolve()
    if not path.is_relative_to(folder):
        raise ImageUnusable(f"{source} is not below the image folder, {folder}.")
    if not path.is_file():
        raise ImageUnusable(f"There is no file {source} in the image folder, {folder}.")
    return path


def is_address(source: str) -> bool:
    """Say whether a source is to be fetched from the net."""
    return "://" in source


def _cache() -> Path:
    folder = Path(settings.IMAGE_FOLDER) / "cache"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@contextmanager
def _locked(digest: str) -> Iterator[None]:
    """Hold the machine's lock of one image; it ends with the process, too."""
    with (_cache() / f"{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(source: str, digest: str, path: Path) -> None:
    part = path.with_suffix(".part")
    try:
        found = _write(part, _content(source))
        if found != digest:
            raise ImageUnusable(
                f"The file has the SHA-256 digest {found}, not {digest}: it is another "
                "file, or was damaged on its way."
            )
        part.replace(path)
    except OSError as error:
        raise ImageUnusable(f"The image could not be stored: {error}.") from error
    finally:
        part.unlink(missing_ok=True)


def _content(source: str) -> Iterator[bytes]:
    if is_address(source):
        limits = fetching.Limits(
            settings.IMAGE_MAX_MIB << 20,
            settings.IMAGE_FETCH_TIMEOUT_S,
            settings.IMAGE_FETCH_PRIVATE,
        )
        yield from fetching.fetched(source, limits)
        return
    with file_below_folder(source).open("rb") as file:
        while part := file.read(_PART_BYTES):
            yield part


def _write(target: Path, parts: Iterator[bytes]) -> str:
    """Write the parts and return their digest."""
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for part in parts:
            if shutil.disk_usage(target).free < len(part) + _PART_BYTES:
                raise ImageUnusable(
                    f"The disk of {target.parent} is full: free some space on it."
                )
            digest.update(part)
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
