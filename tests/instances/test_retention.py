"""Half a year of work leaves no more rows than the settings keep; history stays whole."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.sessions.models import Session
from django.utils import timezone
from django_q.models import Task

from instances import retention, tokens
from instances.actions.delete import delete
from instances.actions.launch import launch
from instances.choices import JobKind
from instances.jobs import runner
from instances.models import (
    ApiChange,
    ApiToken,
    Event,
    Instance,
    Job,
    JobStep,
    TokenRate,
)
from instances.tasks import prune
from inventory.choices import AlertClass, DiscrepancyKind
from inventory.models import (
    Alert,
    CardCheck,
    CardClaim,
    CardEvent,
    Discrepancy,
    Host,
    HostOutage,
    NodeClaim,
)
from tests.builders import make_account, make_host, make_order, make_plan, make_user
from tests.simulated import SimulatedHypervisor

pytestmark = pytest.mark.django_db
DAYS = 182
HISTORY = (CardClaim, NodeClaim, CardEvent, CardCheck, Instance)


def count(*models: Any) -> list[int]:
    return [model.objects.count() for model in models]


def lived(host: SimulatedHypervisor) -> tuple[Instance, Instance]:
    """Return an instance that was deleted, and one that lives."""
    make_host()
    account, plan = make_account(), make_plan(cards=1).slug
    gone = launch(make_order(account, plan=plan))
    runner.run(Job.objects.latest("pk").pk, lambda _: host)  # type: ignore[arg-type,return-value]
    deletion = delete(gone, "user:tester", "tester")
    runner.run(deletion.pk, lambda _: host)  # type: ignore[arg-type,return-value]
    alive = launch(make_order(account, plan=plan))
    runner.run(Job.objects.latest("pk").pk, lambda _: host)  # type: ignore[arg-type,return-value]
    return gone, alive


def a_day(at: datetime, instance: Instance) -> None:
    """Write what a day of one instance leaves behind."""
    host = Host.objects.get()
    job = Job.objects.create(
        kind=JobKind.DELETE,
        instance=instance,
        state="succeeded",
        actor="user:tester",
        deadline_at=at,
        finished_at=at,
    )
    JobStep.objects.create(job=job, position=0, name="a", label="a")
    event = Event.objects.create(
        account=instance.account,
        action="linode_delete",
        status="finished",
        entity_id=instance.pk,
        job=job,
    )
    change = ApiChange.objects.create(account=instance.account, method="POST", path="/")
    Event.objects.filter(pk=event.pk).update(created_at=at)
    ApiChange.objects.filter(pk=change.pk).update(created_at=at)
    Job.objects.filter(pk=job.pk).update(created_at=at)
    Alert.objects.create(
        host=host,
        alert_class=AlertClass.WARNING,
        source="test",
        code=str(at),
        raised_at=at,
        last_seen_at=at,
        cleared_at=at,
    )
    Discrepancy.objects.create(
        host=host,
        kind=DiscrepancyKind.DOMAIN_OFF,
        first_seen_at=at,
        last_seen_at=at,
        resolved_at=at,
    )
    HostOutage.objects.create(host=host, began_at=at, ended_at=at)
    Session.objects.create(session_key=str(at), session_data="", expire_date=at)
    Task.objects.create(
        id=str(at)[:32], name="x", func="x", started=at, stopped=at, success=False
    )


def test_half_a_year_leaves_what_the_settings_keep(settings: Any) -> None:
    settings.KEEP_API_CHANGES_DAYS, settings.KEEP_OUTAGES_DAYS = 120, 150
    gone, _alive = lived(SimulatedHypervisor())
    now = timezone.now()
    pruned = (Job, JobStep, Event, ApiChange, Alert, Discrepancy, HostOutage, Session)
    written = count(*pruned, Task)
    history = count(*HISTORY)
    for day in range(DAYS):
        a_day(now - timedelta(days=day, minutes=1), gone)

    done = prune()

    left = count(*pruned, Task)
    kept = [90, 90, 90, 120, 90, 90, 150, 0, 14]
    assert [n - was for n, was in zip(left, written, strict=True)] == kept
    assert count(*HISTORY) == history
    assert done["Job"] == DAYS - 90
    assert sum(prune().values()) == 0


def test_open_work_and_the_launch_of_a_living_instance_are_kept() -> None:
    host = SimulatedHypervisor()
    gone, alive = lived(host)
    waiting = delete(alive, "user:tester", "tester")
    long_ago = timezone.now() - timedelta(days=400)
    Job.objects.exclude(finished_at=None).update(finished_at=long_ago)
    Job.objects.update(created_at=long_ago)
    Event.objects.update(created_at=long_ago)

    prune()

    left = Job.objects.exclude(kind="sanitise").order_by("pk")
    assert list(left.values_list("instance", "kind")) == [
        (alive.pk, "launch"),
        (alive.pk, "delete"),
    ]
    assert not Job.objects.filter(instance=gone).exists()
    assert JobStep.objects.filter(job=waiting).exists()
    assert list(Event.objects.values_list("action", "status")) == [
        ("linode_delete", "scheduled")
    ]


def test_api_tokens_are_forgotten_long_after_they_ended(settings: Any) -> None:
    settings.KEEP_ENDED_TOKENS_DAYS = 30
    account, user, now = make_account(), make_user(), timezone.now()
    ends = {
        "revoked long ago": {"revoked_at": now - timedelta(days=31)},
        "revoked lately": {"revoked_at": now - timedelta(days=29)},
        "expired long ago": {"expires_at": now - timedelta(days=31)},
        "expired lately": {"expires_at": now - timedelta(days=29)},
        "expires once": {"expires_at": now + timedelta(days=1)},
        "never expires": {},
    }
    for label, end in ends.items():
        token = tokens.issue(account, user, label, tokens.new_secret())
        ApiToken.objects.filter(pk=token.pk).update(**end)
        TokenRate.objects.create(token=token, window=0, requests=1)
        ApiChange.objects.create(
            account=account, token=token, token_name=label, method="POST", path="/"
        )

    assert prune()["ApiToken"] == 2

    kept = [label for label in ends if "long ago" not in label]
    assert list(ApiToken.objects.values_list("label", flat=True)) == kept
    assert TokenRate.objects.count() == len(kept)
    told = ApiChange.objects.order_by("pk").values_list("token_name", flat=True)
    assert list(told) == list(ends)


def test_the_admins_log_is_kept_for_as_long_as_its_setting_says(settings: Any) -> None:
    settings.KEEP_ADMIN_LOG_DAYS = 30
    now, user = timezone.now(), make_user()
    for days in (29, 31):
        LogEntry.objects.create(
            user=user,
            action_time=now - timedelta(days=days),
            object_repr=str(days),
            action_flag=CHANGE,
        )

    assert prune()["LogEntry"] == 1

    assert [entry.object_repr for entry in LogEntry.objects.all()] == ["29"]


def test_every_table_is_pruned_or_kept_on_purpose() -> None:
    ours = {
        model._meta.label
        for app in ("flags", "instances", "inventory")
        for model in apps.get_app_config(app).get_models()
    }
    pruned = {rule.model._meta.label for rule in retention.RULES} & ours

    assert pruned & retention.KEPT_FOR_EVER == set()
    assert pruned | retention.KEPT_FOR_EVER == ours


def test_more_rows_than_a_batch_go_in_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_BATCH", 2)
    account = make_account()
    for _ in range(5):
        ApiChange.objects.create(account=account, method="POST", path="/")
    ApiChange.objects.update(created_at=timezone.now() - timedelta(days=1000))

    assert retention.prune()["ApiChange"] == 5
    assert ApiChange.objects.count() == 0
