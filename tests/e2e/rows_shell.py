"""Evaluates expressions over a stack's rows: the child of tests.e2e.observing.Rows.

`manage(NAME, *ARGUMENTS)` in an expression is a command of manage.py, and what it said.

One JSON text a line on standard input, one JSON object a line on standard output.
"""

import io
import json
import sys
import traceback
from typing import Any

import django
from django.core.management import CommandError, call_command


def main() -> None:
    django.setup()
    # Models can be imported only now.
    import instances.models
    import inventory.models

    names = vars(inventory.models) | vars(instances.models) | {"manage": _manage}
    for line in sys.stdin:
        answer = _answer(json.loads(line), names)
        sys.stdout.write(json.dumps(answer, default=str) + "\n")
        sys.stdout.flush()


def _manage(name: str, *arguments: str) -> str:
    # Standard output is for answers.
    said = io.StringIO()
    try:
        call_command(name, *arguments, stdout=said, stderr=said)
    except CommandError as error:
        raise CommandError(f"{said.getvalue()}{error}") from error
    return said.getvalue()


def _answer(expression: str, names: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"value": eval(expression, dict(names))}  # noqa: S307 -- the tests' own
    except Exception:  # noqa: BLE001 -- the test is told, whatever it is
        return {"error": traceback.format_exc()}


if __name__ == "__main__":
    main()
