"""Metrics and health: the first page's numbers, told to machines and never to the public."""

import json
import logging
import re
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.db import OperationalError, connection
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from gpucloud_site.logs import JsonLines, TextLines, masked
from gpucloud_site.monitoring import health
from gpucloud_site.monitoring.exposition import FleetCollector
from instances import tasks
from instances.durations import BOUNDS_S, count_job
from instances.jobs import runner
from instances.log_context import about, current_ids, note
from instances.models import Heartbeat, Instance, Job, RefusedDemand, WorkDuration
from instances.selectors import host_of
from inventory.choices import HostPolicy
from inventory.models import Host
from tests.admin.conftest import browser_of, employee, fleet, instance, staff
from tests.builders import make_host, make_plan, make_region
from tests.simulated import SimulatedHypervisor

__all__ = ["employee", "fleet", "instance", "staff"]

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "t" * 40
SCRAPER = {"Authorization": f"Bearer {TOKEN}"}
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(client: Client | None = None) -> Samples:
    """Return value by name and sorted labels."""
    answer = (client or Client()).get("/metrics")
    assert answer.status_code == 200, answer.content
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"gpucloud_{name}", tuple(sorted(labels.items()))]


def part(name: str) -> dict[str, Any]:
    answer = Client().get("/health/ready").json()["parts"][name]
    assert isinstance(answer, dict)
    return answer


def beat() -> None:
    tasks.enqueue_due_jobs()


# Who may ask.


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("192.0.2.7", {}, 403),
        ("", {}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.7"}, 403),
        ("127.0.0.1", {"X-Forwarded-Proto": "https"}, 403),
        ("127.0.0.1", {"Forwarded": "for=192.0.2.7"}, 403),
        ("192.0.2.7", SCRAPER, 200),
        ("192.0.2.7", {**SCRAPER, "X-Forwarded-For": "127.0.0.1"}, 200),
        ("192.0.2.7", {"Authorization": "Bearer wrong"}, 403),
        ("192.0.2.7", {"Authorization": "Bearer "}, 403),
        ("192.0.2.7", {"Authorization": f"Basic {TOKEN}"}, 403),
    ],
)
def test_metrics_are_for_the_token_and_for_near_networks(
    db: None, settings: Settings, address: str, headers: dict[str, str], status: int
) -> None:
    settings.METRICS_TOKEN = TOKEN
    client = Client(REMOTE_ADDR=address)

    answer = client.get("/metrics", headers=headers)
    readiness = client.get("/health/ready", headers=headers)

    assert answer.status_code == status
    assert (b"gpucloud_cards" in answer.content) == (status == 200)
    # Everybody hears whether it is ready, and nobody else why not.
    assert ("parts" in readiness.json()) == (status == 200)


def test_without_a_token_no_bearer_is_let_in(db: None, settings: Settings) -> None:
    settings.METRICS_TOKEN = ""

    for given in ("Bearer", "Bearer ", "Bearer x"):
        answer = Client(REMOTE_ADDR="192.0.2.7").get(
            "/metrics", headers={"Authorization": given}
        )
        assert answer.status_code == 403


def test_probes_change_nothing_and_are_not_redirected(
    db: None, settings: Settings
) -> None:
    settings.SECURE_SSL_REDIRECT = True

    for path in ("/health/live", "/health/ready", "/metrics"):
        assert Client().get(path).status_code in (200, 503)
        assert Client().post(path).status_code == 405
    assert Client().get("/admin/").status_code == 301


# Health.


def test_liveness_asks_no_database() -> None:
    """Without the db fixture, any query is an error."""
    assert Client().get("/health/live").json() == {"live": True}


def test_it_is_ready_once_a_worker_works(db: None) -> None:
    before = Client().get("/health/ready")
    beat()
    after = Client().get("/health/ready")

    assert (before.status_code, before.json()["ready"]) == (503, False)
    assert before.json()["parts"]["workers"] == {
        "ok": False,
        "text": "none has ever worked",
        "remedy": "Start a cluster: manage.py run_workers. If one runs, its log tells why "
        "it stands still; if all its workers are busy, raise GPUCLOUD_WORKERS.",
    }
    assert (after.status_code, after.json()["ready"]) == (200, True)
    assert list(after.json()["parts"]) == ["database", "migrations", "workers", "jobs"]


def test_silent_workers_are_told_and_a_balancer_need_not_care(db: None) -> None:
    beat()
    Heartbeat.objects.update(at=Now() - timedelta(seconds=179))
    assert part("workers")["ok"]

    Heartbeat.objects.update(at=Now() - timedelta(seconds=182))

    assert not part("workers")["ok"]
    assert "manage.py run_workers" in part("workers")["remedy"]
    asked = Client().get("/health/ready?part=database&part=migrations")
    assert (asked.status_code, asked.json()["ready"]) == (200, True)
    assert Client().get("/health/ready?part=workers").status_code == 503
    assert Client().get("/health/ready?part=disk").status_code == 400


def test_release_that_the_database_is_not_migrated_for_is_not_ready(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM django_migrations WHERE (app, name) = "
            "('instances', '0034_work_durations')"
        )

    assert part("migrations") == {
        "ok": False,
        "text": "1 of this release is not applied, first instances.0034_work_durations",
        "remedy": "Run manage.py migrate.",
    }
    # Its table may be missing.
    assert part("workers")["text"] == "not known: see migrations"


def test_database_that_is_away_is_said_with_the_remedy(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise OperationalError("connection refused for user gpucloud")

    monkeypatch.setattr(health, "clock", away)
    monkeypatch.setattr(health.connection, "close", lambda: None)

    answer = Client().get("/health/ready")

    assert answer.status_code == 503
    assert answer.json()["parts"]["database"]["remedy"] == (
        "Start PostgreSQL, or correct DATABASE_URL."
    )
    assert [p["ok"] for p in answer.json()["parts"].values()] == [False] * 4


def test_job_that_waits_too_long_for_a_worker_is_told(instance: Instance) -> None:
    assert part("jobs")["ok"]
    Job.objects.update(created_at=F("created_at") - timedelta(seconds=301))
    assert not part("jobs")["ok"]
    assert value(scraped(), "job_waiting_seconds") > 300

    # It waits for its time, for earlier work, or for nothing: a worker has it.
    Job.objects.update(not_before=Now() + timedelta(seconds=60))
    assert part("jobs")["ok"]


def test_page_of_health_shows_what_machines_are_told(staff: Client) -> None:
    page = staff.get("/admin/health/")

    told = Client().get("/health/ready").json()["parts"]
    assert {p.name: p.is_well for p in page.context["parts"]} == {
        name: each["ok"] for name, each in told.items()
    }
    assert "Something needs a person" in page.text
    assert "manage.py run_workers" in page.text
    beat()
    assert "All is well" in staff.get("/admin/health/").text
    assert browser_of().get("/admin/health/").status_code == 403


# Metrics.


def test_scrape_takes_as_many_queries_for_many_rows_as_for_few(
    staff: Client, instance: Instance
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            scraped()
        return len(captured)

    few = queries()
    for number in range(4):
        make_host(region=make_region(f"region-{number}"))
        make_plan()

    assert queries() == few <= 35


def test_age_of_comparisons_is_told_for_the_worst_and_for_most(fleet: Host) -> None:
    for seconds in (1000, 2000, 3000, 4000):
        make_host(reconciled_at=timezone.now() - timedelta(seconds=seconds))
    # The fleet's own host was never compared: it counts from its enrolment, just now.
    make_host(policy=HostPolicy.RETIRED, reconciled_at="2020-01-01T00:00:00Z")

    samples = scraped()
    ages = {
        quantile: value(samples, "reconcile_age_seconds", quantile=quantile) // 1000
        for quantile in ("0.5", "0.9", "1")
    }
    assert ages == {"0.5": 2, "0.9": 4, "1": 4}


def test_steps_are_counted_when_they_end_and_for_ever(instance: Instance) -> None:
    job = Job.objects.get()
    host = SimulatedHypervisor()
    runner.run(job.pk, lambda _uri: host)
    samples = scraped()
    Job.objects.all().delete()

    steps = {
        labels["step"]
        for name, pairs in samples
        if name == "gpucloud_step_duration_seconds_count"
        for labels in [dict(pairs)]
    }
    labels = {"kind": "launch", "outcome": "succeeded"}
    assert {"define_domain", "start_domain"} < steps
    assert value(samples, "job_duration_seconds_count", **labels) == 1
    assert value(samples, "job_duration_seconds_bucket", le="+Inf", **labels) == 1
    # A histogram in Prometheus's sense: a larger bound never counts fewer.
    counted = [
        value(samples, "job_duration_seconds_bucket", le=le, **labels)
        for le in [*(f"{b:g}" for b in BOUNDS_S[:-1]), "+Inf"]
        if (
            "gpucloud_job_duration_seconds_bucket",
            tuple(sorted({**labels, "le": le}.items())),
        )
        in samples
    ]
    assert counted == sorted(counted)
    assert (
        scraped()["gpucloud_job_duration_seconds_count", tuple(sorted(labels.items()))]
        == 1
    )


def test_second_of_its_kind_is_counted_in_the_bound_that_it_meets(
    instance: Instance,
) -> None:
    job = Job.objects.get()
    for seconds in (0, 0.1, 0.11, 4000):
        Job.objects.filter(pk=job.pk).update(
            state="succeeded",
            created_at=Now() - timedelta(seconds=seconds),
            finished_at=Now(),
        )
        count_job(job.pk)

    assert list(WorkDuration.objects.values_list("upto_s", "observed")) == [
        (0.1, 2), (0.25, 1), (float("inf"), 1),
    ]  # fmt: skip


def test_refusals_are_those_of_the_last_hour(instance: Instance) -> None:
    for hours in (0, 0, 2):
        refused = RefusedDemand.objects.create(
            account=instance.account,
            plan=instance.plan,
            region=instance.region,
            reason="capacity",
            is_employee=False,
        )
        RefusedDemand.objects.filter(pk=refused.pk).update(
            at=Now() - timedelta(hours=hours)
        )

    samples = scraped()
    told = {
        reason: value(samples, "refused_demand_1h", region="us-east", reason=reason)
        for reason in ("capacity", "quota")
    }
    assert told == {"capacity": 2, "quota": 0}


def metrics_named_in(text: str) -> set[str]:
    return set(re.findall(r"\bgpucloud_(?!site\b)[a-z0-9_]+", text))


def known_metrics() -> set[str]:
    names = set()
    for family in FleetCollector().collect():
        ends = ("_bucket", "_sum", "_count") if family.type == "histogram" else ("",)
        names |= {family.name + end for end in ends}
    return names


def test_every_metric_in_alerts_dashboard_and_documentation_exists(db: None) -> None:
    known = known_metrics()
    rules = ROOT / "deploy/prometheus/alerts.yml"
    dashboard = ROOT / "deploy/grafana/gpucloud.json"

    alerts = [
        rule for group in yaml.safe_load(rules.read_text())["groups"]
        for rule in group["rules"]
    ]  # fmt: skip
    panels = json.loads(dashboard.read_text())["panels"]

    assert len(alerts) >= 10
    for rule in alerts:
        assert metrics_named_in(rule["expr"]), rule
        assert {"summary", "remedy"} <= set(rule["annotations"]), rule
    assert len(panels) >= 8
    for panel in panels:
        assert all(metrics_named_in(t["expr"]) for t in panel["targets"]), panel
    assert metrics_named_in(rules.read_text() + dashboard.read_text()) <= known
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in known}
    documented = (ROOT / "docs/observability.md").read_text()
    assert metrics_named_in(documented) == families


# Logs.


@pytest.fixture
def lines() -> Callable[[], list[dict[str, Any]]]:
    """Give what was logged, as JSON lines would tell it."""
    told: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(self.format(record))

    handler = Keep()
    handler.setFormatter(JsonLines())
    logging.getLogger().addHandler(handler)
    yield lambda: [json.loads(line) for line in told]
    logging.getLogger().removeHandler(handler)


def test_lines_of_a_job_tell_what_it_is_about(
    instance: Instance, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    host = SimulatedHypervisor()
    job = Job.objects.get()
    with about(request="a" * 32):
        runner.run(job.pk, lambda _uri: host)

    (line,) = [each for each in lines() if "succeeded" in each["message"]]
    assert {k: line[k] for k in ("request", "job", "instance", "level")} == {
        "request": "a" * 32, "job": job.pk, "instance": instance.pk, "level": "INFO",
    }  # fmt: skip
    assert line["host"] == instance_host(instance)
    assert current_ids() == {}


def instance_host(instance: Instance) -> int:
    host = host_of(instance)
    assert host is not None
    return host.pk


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abcdef12-3456", True),
        ("short", False),
        ("x" * 65, False),
        ("two lines\nhere", False),
        ("spoof job=1", False),
    ],
)
def test_request_has_one_id_in_and_out(given: str, kept: bool) -> None:
    answer = Client().get("/health/live", headers={"X-Request-Id": given})

    told = answer["X-Request-Id"]
    assert (told == given) == kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{8,64}", told)


def test_line_of_a_refused_request_tells_the_id_of_its_answer(
    db: None, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    answer = Client().get("/v4/no-such-thing")

    (line,) = [each for each in lines() if each["logger"] == "django.request"]
    assert line["request"] == answer["X-Request-Id"]


def test_traceback_goes_on_behind_a_masked_row() -> None:
    text = "DETAIL:  Failing row contains (1, (S3cr3t), x).\n\nThe above (it) led to:"

    assert masked(text) == "DETAIL:  Failing row: ***\n\nThe above (it) led to:"


def test_note_ends_with_what_it_is_within() -> None:
    with about(job=1):
        with about(instance=None):
            note(host=2)
            assert current_ids() == {"job": 1, "host": 2}
        assert current_ids() == {"job": 1}
    assert current_ids() == {}


@pytest.mark.parametrize(
    "text",
    [
        "IntegrityError: x\nDETAIL:  Failing row contains (1, S3cr3t-word, null).",
        "header was Authorization: Bearer S3cr3t-word",
        "secret whsec_S3cr3t/word",
        "hash $6$salt$S3cr3t",
        "postgres://gpucloud:S3cr3t-word@127.0.0.1/gpucloud",
        '{"root_pass": "S3cr3t word", "label": "x"}',
        "{'user_data': 'S3cr3t-word'}",
        "password=S3cr3t-word",
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        record = logging.LogRecord(
            "x", logging.ERROR, "x.py", 1, "seen: %s", (text,), sys.exc_info()
        )

    for formatter in (TextLines(), JsonLines()):
        line = formatter.format(record)
        assert "S3cr3t" not in line
        assert "***" in line
