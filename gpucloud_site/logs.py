"""How a line of the log is written: as text or JSON, with its ids and without secrets.

Nothing here logs a secret on purpose. What is masked may come in an error's words: of a
database that quotes the row which it refused, or of a client that quotes a header.
"""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from instances.log_context import current_ids

_MASK = "***"
_SECRETS = (
    # PostgreSQL, of a row that a constraint refused: all its values.
    (
        re.compile(r"Failing row contains \(.*?\)\.?(?=\n|$)", re.DOTALL),
        f"Failing row: {_MASK}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {_MASK}"),
    (re.compile(r"whsec_[A-Za-z0-9+/=]+"), _MASK),
    # crypt(5) hashes.
    (re.compile(r"\$(?:6|y|argon2id)\$[^\s'\"]+"), _MASK),
    (re.compile(r"(\w+://[^\s:/@]*):[^\s@/]+@"), rf"\1:{_MASK}@"),
    (
        re.compile(
            r"(?i)((?:pass(?:word)?|root_pass|secret|token|user_data)[\"']?\s*[:=]\s*)"
            r"(\"[^\"]*\"|'[^']*'|[^\s,;}]+)"
        ),
        rf"\1{_MASK}",
    ),
)


def masked(text: str) -> str:
    """Return `text` without what looks like a secret."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def ids_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a line is about.

    Django tells of a refused request once its middleware are done, with the request.
    """
    request = getattr(getattr(record, "request", None), "request_id", None)
    return ({"request": request} if request else {}) | current_ids()


def on_one_line(text: str) -> str:
    """Return `text` so that whoever wrote part of it adds no line, and no colour, to a log."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode()
        for each in text
    )


class TextLines(logging.Formatter):
    """For people: the ids stand at the end of the first line, and others are indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s%(ids)s")

    def format(self, record: logging.LogRecord) -> str:
        told = " ".join(f"{name}={each}" for name, each in ids_of(record).items())
        record.ids = f" [{told}]" if told else ""
        # Masked first: what ends a secret may be the end of its line.
        record.message = on_one_line(masked(record.getMessage()))
        record.asctime = self.formatTime(record)
        lines = [self.formatMessage(record)]
        if record.exc_info:
            error = masked(self.formatException(record.exc_info))
            lines += [f"  {on_one_line(line)}" for line in error.splitlines()]
        return "\n".join(lines)


class JsonLines(logging.Formatter):
    """One object a line: at, level, logger, message, the ids, and error with traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": masked(record.getMessage()),
            **ids_of(record),
        }
        if record.exc_info:
            line["error"] = masked(self.formatException(record.exc_info))
        return json.dumps(line)


def configuration(form: str) -> dict[str, Any]:
    """Return the LOGGING setting: all to standard error, as "text" or "json" lines."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"()": "gpucloud_site.logs.TextLines"},
            "json": {"()": "gpucloud_site.logs.JsonLines"},
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": form}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
    }
