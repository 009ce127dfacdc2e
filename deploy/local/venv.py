"""The Python environment in `.venv`, made from the hashed lock files."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from deploy.local.commands import Command, run_logged
from deploy.local.layout import Layout
from deploy.local.private_file import read_json_object, write_private_json

RUNTIME = "requirements.txt"
DEVELOPMENT = "requirements-dev.txt"
STAMP = "gpucloud-stamp.json"


def python_version() -> str:
    """Return major.minor: patch releases share an environment."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def stamp_for(lock: Path, version: str) -> str:
    """Return a digest that changes when the lock file, the Python or the path does.

    The path counts because an environment's scripts name their interpreter in full.
    """
    digest = hashlib.sha256(lock.read_bytes())
    digest.update(f"\0{version}\0{lock.resolve().parent}".encode())
    return digest.hexdigest()


def ensure_venv(layout: Layout, lock_name: str) -> bool:
    """Make `.venv` hold what the lock file lists; say whether work was needed."""
    stamp_path = layout.venv / STAMP
    wanted = stamp_for(layout.root / lock_name, python_version())
    stamps = read_json_object(stamp_path)
    usable = _is_usable(layout)
    if usable and stamps.get(lock_name) == wanted:
        return False
    if not usable:
        stamps = {}
        _create(layout)
    # Taken away first: an install that dies half-way must not look finished.
    stamps.pop(lock_name, None)
    write_private_json(stamp_path, stamps)
    _install(layout, lock_name)
    write_private_json(stamp_path, stamps | {lock_name: wanted})
    return True


def _is_usable(layout: Layout) -> bool:
    if not layout.python.exists():
        return False
    code = "import sys, pip; print('%d.%d' % sys.version_info[:2])"
    result = subprocess.run(
        [layout.python, "-c", code], capture_output=True, text=True, check=False
    )
    return result.stdout.strip() == python_version()


def _create(layout: Layout) -> None:
    run_logged(
        Command(
            [_base_python(), "-m", "venv", "--clear", layout.venv],
            cwd=layout.root,
            log=layout.log("pip"),
            remedy="install python3-venv (`make packages`), then try again",
        )
    )


def _base_python() -> Path:
    """Return an interpreter that `venv --clear` cannot delete under itself."""
    if sys.prefix == sys.base_prefix:
        return Path(sys.executable)
    return Path(sys.base_prefix) / "bin" / f"python{python_version()}"


def _install(layout: Layout, lock_name: str) -> None:
    run_logged(
        Command(
            [
                layout.python,
                *("-m", "pip", "install", "--no-input", "--disable-pip-version-check"),
                "--progress-bar=off",
                "--require-hashes",
                "-r",
                lock_name,
            ],
            cwd=layout.root,
            log=layout.log("pip"),
            remedy="is the package registry reachable? see the lines above",
        )
    )
