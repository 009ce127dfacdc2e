"""What `make check` asks of the installed packages: their licences, and known holes.

`python -m deploy.local.dependencies licences` reads metadata alone. `advisories` asks OSV
(https://google.github.io/osv.dev/post-v1-querybatch/) and ends with SKIPPED where nobody
answers. deploy/dependencies.toml says what is allowed.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

# EX_TEMPFAIL: nothing is known, which is no failure of ours.
SKIPPED = 75
RULES = Path(__file__).resolve().parents[1] / "dependencies.toml"
_OSV = "https://api.osv.dev"
_WAIT_S = 10.0
# A longer "License" is the text itself.
_LONGEST_NAME = 64


def rules() -> dict[str, Any]:
    return tomllib.loads(RULES.read_text())


def licence_problems(
    packages: Iterable[Distribution], rules: Mapping[str, Any]
) -> Iterator[str]:
    """Give a line for each package whose licence is not allowed."""
    for package in packages:
        name = str(package.metadata["Name"])
        licence = rules["packages"].get(name) or licence_of(package)
        if not is_allowed(licence, rules["licences"]):
            yield (
                f"{name} {package.version}: licence {licence or 'not told'!r} is not among "
                f"those of {RULES.name}: read it, then allow it there or drop the package"
            )


def licence_of(package: Distribution) -> str:
    """Return what the metadata say, as an SPDX expression; empty if they say nothing."""
    told = package.metadata
    expression = told.get("License-Expression")
    if expression:
        return str(expression)
    named = (
        str(told.get("License") or "")
        .strip()
        .removeprefix("License :: OSI Approved :: ")
    )
    if named and len(named) <= _LONGEST_NAME and "\n" not in named:
        return named
    classifiers = [str(each) for each in told.get_all("Classifier") or []]
    return " AND ".join(
        each.rpartition(" :: ")[2]
        for each in classifiers
        if each.startswith("License ::")
    )


def is_allowed(expression: str, allowed: Iterable[str]) -> bool:
    """Say whether one side of an OR is allowed whole; parentheses are taken for words."""
    known = set(allowed)
    return any(
        all(
            part.strip() in known
            for part in re.split(r" AND ", side, flags=re.IGNORECASE)
        )
        for side in re.split(r" OR ", expression, flags=re.IGNORECASE)
    )


def advisories(packages: Iterable[Distribution], url: str) -> list[tuple[str, str]]:
    """Return (package with its version, advisory's id). Raises OSError, ValueError."""
    asked = [(str(each.metadata["Name"]), each.version) for each in packages]
    queries = [
        {"package": {"name": name, "ecosystem": "PyPI"}, "version": version}
        for name, version in asked
    ]
    request = urllib.request.Request(  # noqa: S310 -- an address of our own
        f"{url}/v1/querybatch",
        json.dumps({"queries": queries}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_WAIT_S) as answer:  # noqa: S310
        results = json.load(answer)["results"]
    return [
        (f"{name} {version}", found["id"])
        for (name, version), result in zip(asked, results, strict=True)
        for found in result.get("vulns", ())
    ]


def open_advisories(
    found: Iterable[tuple[str, str]], rules: Mapping[str, Any], today: date
) -> Iterator[str]:
    """Give a line for each that nobody has accepted until today or later."""
    accepted = rules.get("accepted", {})
    for package, advisory in found:
        until = accepted.get(advisory, {}).get("until")
        if until is None or until < today:
            yield f"{package}: {advisory}: update it, or accept that in {RULES.name}"


def main(what: str) -> int:
    """Print what is wrong; return the exit status."""
    if what == "licences":
        problems = list(licence_problems(distributions(), rules()))
    else:
        try:
            url = os.environ.get("GPUCLOUD_OSV_URL") or _OSV
            found = advisories(distributions(), url)
        except (OSError, ValueError, KeyError) as error:
            print(f"skipped: no advisory data: {error}")
            return SKIPPED
        today = datetime.now(UTC).date()
        problems = list(open_advisories(found, rules(), today))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
