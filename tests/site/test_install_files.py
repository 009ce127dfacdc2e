"""Units, proxy and pooler are what the drill can run, and say the same in each place."""

import re
from pathlib import Path

from deploy.drill.machines import INSTALLED, UNITS, unit_setting
from deploy.drill.pooler import Pooler
from deploy.drill.proxy import Proxy
from deploy.drill.site import environment_file
from tests.site.test_settings import ROOT

NAMES = ("gpucloud-watch", "gpucloud-web", "gpucloud-workers")
# Those of the unit's own command.
OF_THE_UNIT = {"WEB_BIND", "WEB_PROCESSES"}


def test_units_differ_in_what_they_run_alone() -> None:
    assert sorted(path.stem for path in UNITS.glob("*.service")) == sorted(NAMES)
    texts = [(UNITS / f"{name}.service").read_text() for name in NAMES]
    assert len({text[text.index("\nUser=") :] for text in texts}) == 1
    for name in NAMES:
        assert unit_setting(name, "ExecStart").startswith(f"{INSTALLED}/.venv/bin/")
        assert float(unit_setting(name, "TimeoutStopSec")) > 0


def test_each_variable_of_the_environment_file_is_documented() -> None:
    settings = (ROOT / "docs" / "settings.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)` \|", settings, re.MULTILINE))
    assert set(environment_file()) - OF_THE_UNIT <= documented
    used = "".join(unit_setting(name, "ExecStart") for name in NAMES)
    assert set(re.findall(r"\$\{(\w+)\}", used)) == OF_THE_UNIT


def test_the_drill_finds_what_it_changes_in_proxy_and_pooler(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, 4431, {"web1": 8001, "web2": 8002}).configuration()
    pooler = Pooler(tmp_path, None, "drill", 5433, 6433).configuration(tmp_path)
    for text in (proxy, pooler):
        assert "example.net" not in text
        assert not re.search(r"\b10\.0\.0\.", text)
