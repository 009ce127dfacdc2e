"""The last release as deploy/released.toml names it, and its code out of this clone."""

import subprocess
import tarfile
import tomllib
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Release:
    """migrations: its newest of each app."""

    commit: str
    migrations: dict[str, str]


@cache
def last_release() -> Release:
    text = (settings.BASE_DIR / "deploy" / "released.toml").read_text(encoding="utf-8")
    return Release(**tomllib.loads(text))


def unpack(commit: str, folder: Path) -> bool:
    """Put a commit's files into a folder; False if this clone does not have the commit."""
    repository = ["git", "-C", str(settings.BASE_DIR)]
    known = subprocess.run(  # noqa: S603 -- our own repository
        [*repository, "cat-file", "-e", f"{commit}^{{commit}}"],
        capture_output=True,
        check=False,
    )
    if known.returncode != 0:
        return False
    packed = subprocess.run(  # noqa: S603 -- as above
        [*repository, "archive", "--format=tar", commit],
        capture_output=True,
        check=True,
    )
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return True
