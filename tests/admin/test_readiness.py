"""Readiness: lines are the rows behind them, a decision keeps them, a launch rests on it."""

import csv
from datetime import timedelta
from io import StringIO
from statistics import median
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from flags import changes
from flags.availability import is_available
from flags.changes import Why
from flags.models import (
    AT_LEAST,
    Flag,
    FlagProposal,
    LaunchDecision,
    ReadinessLine,
    ReadinessThreshold,
)
from instances.jobs import runner
from instances.models import (
    Account,
    Instance,
    InstanceFeedback,
    Job,
    JobStep,
    Plan,
    RefusedDemand,
    UsageInterval,
)
from instances.reports.readiness import asked_of, readiness_of
from inventory.choices import CardCondition, CheckKind, CheckOutcome, DiscrepancyKind
from inventory.ledger import Actor, change_condition, clock, refresh_shape
from inventory.models import Card, Discrepancy, GpuModel, Host, Region
from tests.admin.conftest import browser_of
from tests.builders import (
    GPU_FLAG,
    make_account,
    make_check,
    make_gpu_model,
    make_host,
    make_image,
    make_plan,
    make_region,
)
from tests.simulated import SimulatedHypervisor

pytestmark = pytest.mark.django_db
# Of lines with a threshold of their own; the others are green as they are.
GREEN = {
    "launches": 5, "success": 60, "time_p50": 20, "time_p95": 60, "failures": 2,
    "card_faults": 1, "check_failures": 1, "discrepancies": 1, "refusals": 2, "hours": 4,
    "accounts": 2, "feedback": 50,
}  # fmt: skip


@pytest.fixture
def flag(fleet: Host) -> Flag:
    """Give a flag of which something has happened: six launches, and a fault of each kind."""
    flag = Flag.objects.get(name=GPU_FLAG)
    other = make_plan("other")
    first, second = make_account("first"), make_account("second")
    for number, seconds in enumerate((10, 20, 60)):
        ran(first, f"ready-{number}", seconds)
    ran(second, "second", None)
    # What is behind no flag, and what was launched long ago, is not in it.
    ran(second, "elsewhere", 500, plan=other)
    old = ran(second, "old", 700)
    Instance.objects.filter(pk=old.pk).update(created_at=clock() - timedelta(days=40))
    for number in range(2):
        failed(first, f"failed-{number}", "define the domain", "The host is full.")
    for plan in ("gpu-1", "gpu-1", "other"):
        RefusedDemand.objects.create(
            account=second,
            plan=Plan.objects.get(slug=plan),
            region=make_region(),
            reason="capacity",
            is_employee=False,
        )
    broken, worn, *_ = Card.objects.filter(host=fleet)
    with transaction.atomic():
        loud = Actor("user:t", "it is loud")
        change_condition(broken, CardCondition.QUARANTINED, loud)
        refresh_shape(fleet)
    make_check(worn, CheckKind.SANITISE, CheckOutcome.FAILED)
    make_host(
        "apart",
        region=make_region("ap-west"),
        gpu_model=make_gpu_model("l40s", "10de:26b9"),
        condition=CardCondition.QUARANTINED,
    )
    now = clock()
    for days, card in ((1, worn), (90, broken)):
        Discrepancy.objects.create(
            host=fleet,
            card=card,
            kind=DiscrepancyKind.CARD_VANISHED,
            subject=f"{card.slot_path}",
            detail="gone",
            first_seen_at=now - timedelta(days=days + 1),
            last_seen_at=now,
            resolved_at=now - timedelta(days=days),
        )
    for label, again in (("ready-0", True), ("ready-1", False), ("elsewhere", True)):
        said(label, again)
    said("ready-2", None)
    Flag.objects.filter(pk=flag.pk).update(created=now - timedelta(days=300))
    flag.refresh_from_db()
    return flag


def ran(
    account: Account, label: str, seconds: int | None, plan: Plan | None = None
) -> Instance:
    """Make an instance that was launched two hours ago, was ready, and ran for an hour."""
    at = clock() - timedelta(hours=2)
    made = Instance.objects.create(
        account=account,
        plan=plan or Plan.objects.get(slug="gpu-1"),
        region=make_region(),
        image=make_image(),
        label=label,
        created_by="user:tester",
    )
    Instance.objects.filter(pk=made.pk).update(created_at=at)
    if seconds is None:
        return made
    ready_at = at + timedelta(seconds=seconds)
    Instance.objects.filter(pk=made.pk).update(ready_at=ready_at)
    UsageInterval.objects.create(
        instance=made,
        plan=made.plan,
        starts_at=ready_at,
        ends_at=ready_at + timedelta(hours=1),
        price_hourly=1,
        price_monthly=1,
        is_billed=False,
    )
    return made


def said(label: str, again: bool | None) -> None:
    InstanceFeedback.objects.create(
        instance=Instance.objects.get(label=label),
        workload="rendering",
        would_use_again=again,
        written_by="user:tester",
    )


def failed(account: Account, label: str, step: str, cause: str) -> None:
    made = ran(account, label, None)
    Instance.objects.filter(pk=made.pk).update(phase="failed", ended_at=clock())
    job = Job.objects.create(
        kind="launch",
        instance=made,
        state="failed",
        actor="user:tester",
        public_message=cause,
        deadline_at=clock(),
        finished_at=clock(),
    )
    states = (("claim", "undone"), (step, "undone"), ("start it", "pending"))
    for position, (label_, state) in enumerate(states):
        JobStep.objects.create(
            job=job, position=position, name=f"s{position}", label=label_, state=state
        )


def bounds(flag: Flag | None, **wanted: float) -> None:
    for line, bound in wanted.items():
        ReadinessThreshold.objects.update_or_create(
            flag=flag, line=line, defaults={"bound": bound}
        )


def states(flag: Flag) -> dict[str, str]:
    report = readiness_of(flag, asked_of(flag))
    return {line.name: line.status for line in report.lines}


def rows(client: Client, flag: Flag, line: str) -> list[dict[str, str]]:
    answer = client.get(f"/admin/readiness/{flag.pk}/{line}/", {"format": "csv"})
    assert answer.status_code == 200
    return list(csv.DictReader(StringIO(answer.text, newline="")))


def test_each_line_is_what_the_rows_behind_it_say(staff: Client, flag: Flag) -> None:
    behind = {line: rows(staff, flag, line) for line in ReadinessLine.values}
    times = [float(row["Time to running, s"]) for row in behind["time_p50"]]
    went_well = [row for row in behind["success"] if row["Phase"] != "failed"]

    found = {line.name: line.value for line in readiness_of(flag, asked_of(flag)).lines}

    assert found == {
        "launches": 6.0, "success": 60.0, "time_p50": 20.0, "time_p95": 56.0,
        "failures": 2.0, "card_faults": 1.0, "check_failures": 1.0, "discrepancies": 1.0,
        "refusals": 2.0, "hours": 4.0, "accounts": 2.0,
        "feedback": 50.0,
    }  # fmt: skip
    for counted in (
        *("launches", "failures", "card_faults", "check_failures"),
        *("discrepancies", "refusals"),
    ):
        assert found[counted] == len(behind[counted]), counted
    assert found["success"] == 100 * len(went_well) / len(behind["success"])
    assert found["time_p50"] == median(times)
    assert found["accounts"] == len({row["Account"] for row in behind["accounts"]})
    hours = [float(row["Hours in these days"]) for row in behind["hours"]]
    assert found["hours"] == sum(hours)
    again = [row["Would use it again"] for row in behind["feedback"]]
    assert sorted(again) == ["", "no", "yes"]
    (fault,) = behind["card_faults"]
    assert (fault["Became"], fault["Why"]) == ("quarantined", "it is loud")
    page = staff.get(f"/admin/readiness/{flag.pk}/failures/").text
    assert (
        f"/admin/instances/instance/{Instance.objects.get(label='failed-1').pk}/"
        in page
    )


@pytest.mark.parametrize("gated", [GpuModel, Region])
def test_what_is_behind_a_model_or_a_region_counts_too(
    gated: type[GpuModel | Region], flag: Flag
) -> None:
    Plan.objects.update(flag_name="")
    assert readiness_of(flag, asked_of(flag)).lines[0].value == 0

    gated.objects.filter(slug__in=("rtx6000", "us-east")).update(flag_name=flag.name)

    found = {line.name: line.value for line in readiness_of(flag, asked_of(flag)).lines}
    # The one that is elsewhere otherwise, too.
    assert (found["launches"], found["refusals"], found["hours"]) == (7, 3, 5)
    assert (found["card_faults"], found["check_failures"]) == (1, 1)
    assert found["feedback"] == 66.7


def test_failures_are_told_by_step_and_cause(staff: Client, flag: Flag) -> None:
    failed(make_account("third"), "alone", "boot", "It did not boot.")
    Job.objects.filter(instance__label="failed-0").delete()

    report = readiness_of(flag, asked_of(flag))

    assert [(each.step, each.cause, each.launches) for each in report.failures] == [
        ("boot", "It did not boot.", 1),
        ("define the domain", "The host is full.", 1),
        ("", "", 1),
    ]
    assert "It did not boot." in staff.get(f"/admin/readiness/{flag.pk}/").text


def test_a_launch_that_failed_in_its_job_is_told_with_its_step(
    instance: Instance, simulated_host: SimulatedHypervisor
) -> None:
    flag = Flag.objects.get(name=GPU_FLAG)
    changes.kill(flag.pk, Why("user:t", "smoke"))
    runner.run(instance.jobs.get().pk, lambda _uri: simulated_host)  # type: ignore[arg-type,return-value]

    (failure,) = readiness_of(flag, asked_of(flag)).failures

    assert (failure.step, failure.launches) == ("Cards, cores and memory claimed", 1)
    assert failure.cause.startswith("This plan is not available")


def test_a_line_is_green_to_its_threshold_and_not_beyond(flag: Flag) -> None:
    bounds(flag, **GREEN)
    assert set(states(flag).values()) == {"green"}

    for line, bound in GREEN.items():
        is_least = line in AT_LEAST
        beyond = {"launches": 7, "time_p95": 55.9}.get(
            line, bound + (1 if is_least else -1)
        )
        bounds(flag, **{line: beyond})
        assert states(flag)[line] == "red", line
    # The flag's own goes before that of all; without any, nobody says what is green.
    bounds(None, hours=1)
    assert states(flag)["hours"] == "red"
    ReadinessThreshold.objects.filter(flag=flag, line="hours").delete()
    assert states(flag)["hours"] == "green"
    ReadinessThreshold.objects.all().delete()
    assert set(states(flag).values()) == {"no data"}


def test_what_says_nothing_is_not_green(fleet: Host) -> None:
    flag = Flag.objects.get(name=GPU_FLAG)
    bounds(None, **GREEN)

    found = states(flag)

    assert {name for name, state in found.items() if state == "no data"} == {
        *("success", "time_p50", "time_p95", "failures", "refusals", "feedback"),
    }
    assert found["launches"] == "red"
    # Cards were there, were tested, and had no fault.
    assert (found["card_faults"], found["check_failures"]) == ("green", "green")
    Plan.objects.update(flag_name="")
    assert states(flag)["card_faults"] == "no data"


def decide(browser: Client, flag: Flag, verdict: str, remark: str = "") -> str:
    page = browser.get(f"/admin/readiness/{flag.pk}/")
    seen = page.context["decision"].initial["seen"]
    body = {"verdict": verdict, "remark": remark, "seen": seen}
    return browser.post(f"/admin/readiness/{flag.pk}/", body, follow=True).text


def test_a_decision_keeps_the_report_as_it_was(staff: Client, flag: Flag) -> None:
    bounds(flag, **GREEN)
    bounds(flag, hours=10)
    assert "Not green: hours run." in decide(staff, flag, "go")
    assert not LaunchDecision.objects.exists()

    assert "Recorded: go." in decide(staff, flag, "go", "the weekend was quiet")
    failed(make_account("third"), "later", "boot", "It did not boot.")

    decision = LaunchDecision.objects.get()
    assert (decision.by, decision.verdict) == ("user:admin", "go")
    kept = {line["name"]: line for line in decision.snapshot["lines"]}
    assert (kept["hours"]["value"], kept["hours"]["bound"]) == (4.0, 10.0)
    assert (kept["launches"]["value"], kept["failures"]["value"]) == (6, 2)
    assert decision.snapshot["plans"] == ["gpu-1", "gpu-2"]
    assert readiness_of(flag, asked_of(flag)).lines[0].value == 7
    page = staff.get(f"/admin/flags/launchdecision/{decision.pk}/change/").text
    assert "The host is full." in page
    assert "It did not boot." not in page
    assert (
        "the weekend was quiet"
        in staff.get(f"/admin/flags/flag/{flag.pk}/change/").text
    )


def test_a_decision_is_on_what_the_person_saw(staff: Client, flag: Flag) -> None:
    bounds(flag, **GREEN)
    url = f"/admin/readiness/{flag.pk}/"
    seen = staff.get(url).context["decision"].initial["seen"]
    bounds(flag, hours=10)

    late = staff.post(url, {"verdict": "go", "seen": seen}, follow=True)
    bad = staff.post(url, {"verdict": "perhaps", "seen": seen}, follow=True)

    assert "a line has changed. Look again." in late.text
    assert "choose go or no-go" in bad.text
    assert not LaunchDecision.objects.exists()


def press(browser: Client, flag: Flag, verb: str, **fields: str) -> Any:
    body = {
        "reason": "it is ready",
        "due_at_0": "",
        "due_at_1": "",
        verb: "1",
        **fields,
    }
    return browser.post(f"/admin/readiness/{flag.pk}/launch/", body, follow=True)


def test_launch_and_back_by_one_page(
    staff: Client,
    flag: Flag,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    bounds(flag, **GREEN)
    url = f"/admin/readiness/{flag.pk}/launch/"
    form = {"everyone": "true", "reason": "past the page", "account_percent": "0"}
    assert "Nobody has decided yet." in staff.get(url).text
    assert "Nobody has decided yet." in press(staff, flag, "launch").text
    edited = staff.post(f"/admin/flags/flag/{flag.pk}/change/", form)
    assert "everyone" in edited.context["adminform"].form.errors
    decide(staff, flag, "go")
    bounds(flag, hours=10)
    assert (
        "Not green any more since the decision: hours."
        in press(staff, flag, "launch").text
    )
    assert not is_available([GPU_FLAG], None)
    assert "Not green any more since the decision" in staff.get(url).text
    bounds(flag, hours=4)

    with django_assert_max_num_queries(40):
        page = staff.get(url)
    fits = {
        (r.offer.region.slug, r.offer.plan.slug): r.fits for r in page.context["rows"]
    }
    assert fits == {
        ("ap-west", "gpu-1"): 0,
        ("ap-west", "gpu-2"): 0,
        ("us-east", "gpu-1"): 3,
        ("us-east", "gpu-2"): 1,
    }
    # Of the host in us-east a card is quarantined; those of ap-west are no plan's.
    assert page.context["stranded"] == {"ap-west": 0, "us-east": 0}
    assert press(staff, flag, "launch", reason="").context["form"].errors
    assert "is changed, from" in press(staff, flag, "launch").text
    assert is_available([GPU_FLAG], None)
    assert "Take the launch back" in staff.get(url).text

    press(staff, flag, "take_back")

    flag.refresh_from_db()
    assert (flag.everyone, flag.account_tags) == (None, ["employee"])
    assert "shut since the decision" in staff.get(url).text.replace("It was ", "")


def test_a_launch_by_two_persons_and_a_killed_one(
    staff: Client, flag: Flag, settings: Settings
) -> None:
    settings.FLAG_CHANGES_NEED_TWO = True
    bounds(flag, **GREEN)
    decide(staff, flag, "go")

    asked = press(staff, flag, "launch")

    assert "a second person must approve" in asked.text
    page = staff.get(f"/admin/readiness/{flag.pk}/launch/")
    assert [each.state for each in page.context["planned"]] == ["waiting"]
    assert "waits for a second person" in page.text
    assert not is_available([GPU_FLAG], None)
    changes.approve(FlagProposal.objects.get().pk, "user:bob")
    assert is_available([GPU_FLAG], None)
    changes.kill(flag.pk, Why("user:bob", "smoke"))
    assert "It is killed." in staff.get(f"/admin/readiness/{flag.pk}/launch/").text
    assert "is killed: take that back first" in press(staff, flag, "take_back").text


def test_who_reads_decides_and_launches(flag: Flag) -> None:
    manager = browser_of("instances.view_reports")
    support = browser_of("flags.view_flag", "instances.view_instance")
    page, launch = f"/admin/readiness/{flag.pk}/", f"/admin/readiness/{flag.pk}/launch/"
    decision = {"verdict": "go", "remark": "x", "seen": "x"}

    assert manager.get("/admin/readiness/").status_code == 200
    assert manager.get(page).status_code == 200
    assert manager.get(f"{page}launches/").status_code == 200
    assert "/admin/instances/instance/" not in manager.get(f"{page}launches/").text
    assert manager.get(f"{page}?format=xlsx").status_code == 200
    assert manager.post(page, decision).status_code == 403
    assert manager.get(launch).status_code == 403
    assert manager.post(launch, {"launch": "1", "reason": "x"}).status_code == 403
    for path in ("/admin/readiness/", page, f"{page}launches/", launch):
        assert support.get(path).status_code == 403
    assert manager.get("/admin/readiness/999999/").status_code == 404
    assert manager.get(f"{page}weather/").status_code == 404
    assert manager.get(f"{page}?since=2026-02-30").status_code == 400
    assert not LaunchDecision.objects.exists()


def test_a_threshold_is_edited_with_its_history(
    staff: Client, flag: Flag, admin_user: User
) -> None:
    bounds(None, hours=24)
    row = ReadinessThreshold.objects.get(flag=None, line="hours")
    url = f"/admin/flags/readinessthreshold/{row.pk}"

    assert staff.post(f"{url}/change/", {"bound": "12"}).status_code == 302
    assert staff.post(f"{url}/delete/", {"post": "yes"}).status_code == 403

    row.refresh_from_db()
    assert row.bound == 12
    assert "24.00 → 12" in staff.get(f"{url}/history/").text
    added = {"flag": str(flag.pk), "line": "hours", "bound": "1"}
    for expected in (302, 200):
        answer = staff.post("/admin/flags/readinessthreshold/add/", added)
        assert answer.status_code == expected


def test_queries_do_not_grow_with_what_happened(
    staff: Client,
    flag: Flag,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_max_num_queries(27):
        staff.get(f"/admin/readiness/{flag.pk}/")
    for line in ReadinessLine.values:
        with django_assert_max_num_queries(12):
            staff.get(f"/admin/readiness/{flag.pk}/{line}/")
