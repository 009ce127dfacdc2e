"""Where everything of the local stack lies, below one checkout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The paths of one checkout; all that the stack writes is below `.local/`."""

    root: Path

    @property
    def local(self) -> Path:
        return self.root / ".local"

    @property
    def logs(self) -> Path:
        return self.local / "log"

    @property
    def run(self) -> Path:
        return self.local / "run"

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def state(self) -> Path:
        return self.local / "state.json"

    @property
    def secrets(self) -> Path:
        return self.local / "secrets.json"

    @property
    def cluster(self) -> Path:
        return self.local / "postgres.json"

    @property
    def services(self) -> Path:
        return self.local / "services.json"

    @property
    def e2e_services(self) -> Path:
        return self.local / "e2e-services.json"

    @property
    def compat_services(self) -> Path:
        return self.local / "compat-services.json"

    @property
    def run_json(self) -> Path:
        return self.local / "run.json"

    @property
    def env_json(self) -> Path:
        return self.local / "env.json"

    @property
    def env_sh(self) -> Path:
        return self.local / "env.sh"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"


def checkout() -> Layout:
    """Return the layout of the checkout that this file belongs to."""
    return Layout(Path(__file__).resolve().parents[2])
