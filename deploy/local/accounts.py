"""Which account a program runs as: PostgreSQL refuses to run as root."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from typing import TypedDict

from deploy.local.problems import ProgramMissing

UNPRIVILEGED = ("postgres", "nobody")


class Switch(TypedDict, total=False):
    """The arguments of subprocess that change the account."""

    user: int
    group: int
    extra_groups: list[int]


def unprivileged_account() -> str | None:
    """Return the account to change to; None if this one is not root."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise ProgramMissing(
        f"neither account exists: {', '.join(UNPRIVILEGED)}", "run `make packages`"
    )


def switch_to(name: str | None) -> Switch:
    """Return the arguments that make subprocess change to the account."""
    if name is None:
        return {}
    entry = pwd.getpwnam(name)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def can_write(name: str | None, folder: Path) -> bool:
    """Say whether the account gets through to the folder and may write there."""
    result = subprocess.run(
        ["test", "-w", folder],
        cwd="/",
        check=False,
        stdin=subprocess.DEVNULL,
        **switch_to(name),
    )
    return result.returncode == 0
