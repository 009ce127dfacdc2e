"""Where the virtual GPU host keeps what it makes: the cache folder and its locks."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
REPOSITORY = SOURCE.parents[1]


def cache_dir() -> Path:
    """Return the cache folder: $GPUHOST_DIR, else the repository's .local/gpuhost."""
    chosen = os.environ.get("GPUHOST_DIR")
    folder = Path(chosen).resolve() if chosen else REPOSITORY / ".local" / "gpuhost"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def images_dir() -> Path:
    """Return the folder of images, one sub-folder per content hash."""
    return cache_dir() / "images"


def default_run_dir(name: str) -> Path:
    """Return the run folder of the host `name` when none was asked for."""
    return cache_dir() / "run" / name


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`; blocks while another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
