"""Starts and stops a virtual GPU host through the command line of tests.gpuhost."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.layout import Layout
from deploy.local.problems import CommandFailed


@dataclass(frozen=True)
class VirtualHost:
    """A virtual GPU host, by name, board (nodes x cards) and model of the cards."""

    layout: Layout
    name: str
    board: str = "2x2"
    card: str = "rtx6000"

    @property
    def folder(self) -> Path:
        return self.layout.run / self.name

    def start(self) -> dict[str, Any]:
        """Have the host run; builds its image first where there is none.

        Returns: what it says about itself, with name and libvirt_uri.
        Raises: CommandFailed; its own words were on stderr already.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        facts = self._call(
            "start", "--board", self.board, "--card", self.card, "--json"
        )
        found: dict[str, Any] = json.loads(facts)
        return found

    def stop(self) -> None:
        """End the host and all that runs on it; nothing if it does not run."""
        if self.folder.exists():
            self._call("stop")

    def _call(self, verb: str, *options: str) -> str:
        # With the environment's python where there is one: a fresh checkout has none.
        python = self.layout.python if self.layout.python.exists() else "python3"
        result = subprocess.run(
            [
                *(python, "-m", "tests.gpuhost", verb, self.name),
                *options,
                *("--run-dir", self.folder),
            ],
            cwd=self.layout.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise CommandFailed(
                f"the virtual host {self.name} did not {verb}"
                f" (status {result.returncode})",
                f"see the lines above; logs are in {self.folder}",
            )
        return result.stdout
