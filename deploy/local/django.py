"""Runs `manage.py` commands, and the three services that are Django's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.local.commands import Command, run_logged
from deploy.local.environment import with_inherited
from deploy.local.layout import Layout
from deploy.local.ports import LOOPBACK
from deploy.local.services import Service

SOURCES = ("gpucloud_site", "inventory", "instances", "flags", "templates")
WEB = "web"
WORKER = "worker"
WATCH = "watch"
WEB_THREADS = "8"
WEB_WORKERS = "2"
# Above GPUCLOUD_STOP_GRACE_S, after which the workers' supervisor lets go of their jobs.
WORKER_GRACE_S = 30


@dataclass(frozen=True)
class Django:
    """One site: the code of a checkout with the variables that it reads."""

    layout: Layout
    env: Mapping[str, str]
    # Comes before the names of logs, so that two stacks do not share one.
    prefix: str = ""

    def manage(self, *arguments: str, stdin: str = "") -> None:
        """Run one command to its end.

        Raises: CommandFailed; its log is log/PREFIXmanage-COMMAND.log.
        """
        run_logged(
            Command(
                [self.layout.python, "manage.py", *arguments],
                cwd=self.layout.root,
                log=self.layout.log(f"{self.prefix}manage-{arguments[0]}"),
                env=with_inherited(self.env),
                stdin=stdin,
            )
        )

    def web(self, port: int) -> Service:
        """Return the web server on a port of the loopback address."""
        gunicorn = [str(self.layout.venv / "bin" / "gunicorn")]
        return self._service(
            WEB,
            [
                *gunicorn,
                "gpucloud_site.wsgi:application",
                # It would open a socket in the home folder of whoever runs it.
                "--no-control-socket",
                *("-k", "gthread", "--threads", WEB_THREADS, "-w", WEB_WORKERS),
                *("-b", f"{LOOPBACK}:{port}"),
            ],
        )

    def worker(self) -> Service:
        """Return the django-q2 cluster with its supervisor."""
        return self._service(
            WORKER, [str(self.layout.python), "manage.py", "run_workers"]
        )

    def watch(self) -> Service:
        """Return the process that has hosts and cards looked after in time."""
        return self._service(WATCH, [str(self.layout.python), "manage.py", "watch"])

    def _service(self, name: str, command: list[str]) -> Service:
        return Service(
            name=name,
            command=command,
            env=with_inherited(self.env),
            cwd=self.layout.root,
            log=self.layout.log(f"{self.prefix}{name}"),
            # Not the whole environment: another terminal is no reason to restart.
            version=str(sorted(self.env.items())) + code_version(self.layout),
            grace_s=WORKER_GRACE_S,
        )


def code_version(layout: Layout) -> str:
    """Return a digest that changes with any file of the site or of its lock file."""
    digest = hashlib.sha256((layout.root / "requirements.txt").read_bytes())
    for folder in SOURCES:
        for path in sorted((layout.root / folder).rglob("*")):
            if path.suffix in {".pyc", ""} or not path.is_file():
                continue
            facts = path.stat()
            digest.update(f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()
