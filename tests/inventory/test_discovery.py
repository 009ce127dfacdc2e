"""What a look at a host says, from values alone."""

import pytest

from inventory.discovery import has_booted


@pytest.mark.parametrize(
    ("before", "after", "passed_s", "booted"),
    [
        pytest.param(400.0, 440.0, 10.0, False, id="went on"),
        pytest.param(400.0, 20.0, 10.0, True, id="began anew"),
        pytest.param(240.0, 260.0, 100.0, True, id="up for less than since the look"),
        pytest.param(4000.0, 4040.0, 600.0, True, id="stood still for minutes"),
        pytest.param(4000.0, 4004.0, 11.0, False, id="stood still for a moment"),
        pytest.param(None, 20.0, 10.0, False, id="not told before"),
        pytest.param(400.0, None, 10.0, False, id="not told now"),
    ],
)
def test_boot_shows_in_the_cpu_time_since_boot(
    before: float | None, after: float | None, passed_s: float, booted: bool
) -> None:
    assert has_booted(before, after, passed_s, cpus=4) is booted
