"""What `make check` says of packages' licences and known holes."""

import json
import threading
from collections.abc import Iterator
from datetime import date
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import Distribution
from typing import Any

import pytest

from deploy.local import dependencies
from deploy.local.dependencies import (
    SKIPPED,
    licence_problems,
    main,
    open_advisories,
    rules,
)


class Package(Distribution):
    """One with these metadata."""

    def __init__(self, name: str = "thing", **told: str) -> None:
        self._told = Message()
        for key, value in {"Name": name, "Version": "1.0", **told}.items():
            self._told[key.replace("_", "-")] = value

    @property
    def metadata(self) -> Any:
        return self._told

    @property
    def version(self) -> str:
        return "1.0"

    def read_text(self, filename: str) -> None:
        return None

    def locate_file(self, path: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("told", "is_fine"),
    [
        ({"License_Expression": "MIT"}, True),
        ({"License_Expression": "Apache-2.0 OR AGPL-3.0-only"}, True),
        ({"License_Expression": "Apache-2.0 AND AGPL-3.0-only"}, False),
        ({"License_Expression": "MIT", "License": "AGPL"}, True),
        ({"License": "BSD"}, True),
        ({"License": "GPLv3"}, False),
        (
            {
                "License": "x" * 100,
                "Classifier": "License :: OSI Approved :: MIT License",
            },
            True,
        ),
        ({"Classifier": "License :: Other/Proprietary License"}, False),
        (
            {"License": "BSD", "Classifier": "License :: Other/Proprietary License"},
            True,
        ),
        ({}, False),
        ({"name": "axe-playwright-python"}, True),
    ],
)
def test_licence_is_one_that_is_allowed(told: dict[str, str], is_fine: bool) -> None:
    problems = list(licence_problems([Package(**told)], rules()))

    assert (problems == []) is is_fine


@pytest.fixture
def osv() -> Iterator[str]:
    """Give the address of a service that knows a hole in one package."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            asked = json.loads(self.rfile.read(length))["queries"]
            hole = {"vulns": [{"id": "GHSA-hole"}]}
            results = [hole if q["package"]["name"] == "Django" else {} for q in asked]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"results": results}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_known_hole_fails_the_check_until_it_is_accepted(
    osv: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GPUCLOUD_OSV_URL", osv)
    allowed = {**rules(), "accepted": {"GHSA-hole": {"until": date(2999, 1, 1)}}}

    assert main("advisories") == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Django ")
    assert "GHSA-hole" in line

    monkeypatch.setattr(dependencies, "rules", lambda: allowed)
    assert main("advisories") == 0
    found = [("thing 1.0", "GHSA-hole")]
    assert list(open_advisories(found, allowed, date(3000, 1, 1)))


def test_without_data_nothing_is_said_to_be_fine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GPUCLOUD_OSV_URL", "http://127.0.0.1:9")

    assert main("advisories") == SKIPPED
    assert capsys.readouterr().out.startswith("skipped: no advisory data: ")
