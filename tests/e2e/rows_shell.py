"""Evaluates expressions over a stack's rows: the child of tests.e2e.observing.Rows.

One JSON text a line on standard input, one JSON object a line on standard output.
"""

import json
import sys
import traceback
from typing import Any

import django


def main() -> None:
    django.setup()
    # Models can be imported only now.
    import instances.models
    import inventory.models

    names = vars(inventory.models) | vars(instances.models)
    for line in sys.stdin:
        answer = _answer(json.loads(line), names)
        sys.stdout.write(json.dumps(answer, default=str) + "\n")
        sys.stdout.flush()


def _answer(expression: str, names: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"value": eval(expression, dict(names))}  # noqa: S307 -- the tests' own
    except Exception:  # noqa: BLE001 -- the test is told, whatever it is
        return {"error": traceback.format_exc()}


if __name__ == "__main__":
    main()
