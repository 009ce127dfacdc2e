"""After anything that happens to cards, metrics and first page tell the same numbers."""

from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis.stateful import invariant, run_state_machine_as_test

from gpucloud_site.monitoring.health import WORKERS
from tests.instances.test_card_life_stateful import CardLife
from tests.site.test_monitoring import scraped, value

# To ask both after each step would take longer than the steps.
EVERY = 3


class Observed(CardLife):
    """The same life; what is looked at is what is told of it."""

    @invariant()
    def fleet_is_sound(self) -> None:
        self.steps += 1
        if self.steps % EVERY == 0:
            assert_metrics_are_the_page()

    def teardown(self) -> None:
        assert_metrics_are_the_page()


def assert_metrics_are_the_page() -> None:
    staff = Client()
    user, _ = User.objects.get_or_create(
        username="boss", is_staff=True, is_superuser=True
    )
    staff.force_login(user)
    page, samples = staff.get("/admin/").context, scraped()

    def total(
        name: str, choose: Callable[[dict[str, str]], bool] = lambda _: True
    ) -> float:
        return sum(
            number
            for (metric, labels), number in samples.items()
            if metric == f"gpucloud_{name}" and choose(dict(labels))
        )

    for row in page["region_rows"]:
        region = row.region.slug

        def here(labels: dict[str, str], region: str = region) -> bool:
            return labels["region"] == region

        shown = {number.name: number.value for number in row.numbers}
        told: dict[str, float] = {
            state: value(samples, "cards", region=region, state=state)
            for state in ("used", "free", "cleaning", "broken", "unknown")
        }
        told["sellable"] = value(samples, "cards_sellable", region=region)
        told["total"] = total("cards", here)
        assert told == shown
        used = total("card_conditions", lambda of: here(of) and of["used"] == "yes")
        assert used == shown["used"]
        assert total("card_conditions", here) == shown["total"]
    of_all = {number.name: number.value for number in page["sums"]}
    assert total("cards") == of_all["total"]
    plans: dict[tuple[str, str], float] = {
        (fit.title, row.plan.slug): fit.value
        for row in page["plan_rows"]
        for fit in row.fits
    }
    assert plans == {
        (region, plan): value(samples, "plan_sellable", region=region, plan=plan)
        for region, plan in plans
    }
    counts: dict[str, Any] = {
        "hosts": page["host_total"],
        "hosts_silent": page["silent_total"],
        "jobs": page["job_total"],
        "discrepancies": page["discrepancy_total"],
        "alerts": page["alert_total"],
    }
    assert {name: total(name) for name in counts} == counts
    assert value(samples, "part_ready", part=WORKERS) == 0


@pytest.mark.django_db(transaction=True)
def test_metrics_are_the_first_pages_numbers_after_anything(settings: object) -> None:
    settings.LAB = True  # type: ignore[attr-defined]
    settings.RECONCILE_CYCLE_S = 3600  # type: ignore[attr-defined]
    run_state_machine_as_test(
        Observed,
        settings=hypothesis.settings(max_examples=3, stateful_step_count=20),
    )
