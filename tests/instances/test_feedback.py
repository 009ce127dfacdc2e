"""Feedback's rows: one an instance, of a known workload, found by flag and time."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from instances.actions.delete import delete
from instances.actions.feedback import give_feedback
from instances.actions.launch import launch
from instances.admin.feedback import outcome_text
from instances.choices import Phase
from instances.feedback import of_flag, outcome_of
from instances.jobs import runner
from instances.models import Instance, InstanceFeedback, Job
from inventory.models import GpuModel, Region
from tests.builders import make_account, make_flag, make_host, make_order, make_plan
from tests.simulated import SimulatedHypervisor

pytestmark = pytest.mark.django_db


def made(flag_name: str = "") -> Instance:
    plan = make_plan(flag_name=flag_name)
    return launch(make_order(plan=plan.slug))


def said_of(instance: Instance, workload: str = "rendering") -> InstanceFeedback:
    return give_feedback(instance, {"workload": workload}, "user:carol")


def test_the_database_holds_one_row_an_instance_of_a_known_workload() -> None:
    make_host()
    instance = made()
    said_of(instance)

    for workload, constraint in (
        ("rendering", "instance_id"),
        ("mining", "feedback_workload_is_known"),
    ):
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            InstanceFeedback.objects.create(instance=instance, workload=workload)
    with pytest.raises(IntegrityError, match="known"), transaction.atomic():
        InstanceFeedback.objects.update(workload="mining")
    said_of(instance, "transcoding")

    assert InstanceFeedback.objects.get().workload == "transcoding"


def test_it_is_found_by_the_flag_of_plan_model_or_region_and_by_time() -> None:
    make_host(cores_per_node=4)
    for name in ("beta", "other"):
        make_flag(name, everyone=True)
    rows = [said_of(made("beta")), said_of(made("other")), said_of(made())]
    first = rows[0]

    assert list(of_flag("beta")) == [first]
    GpuModel.objects.update(flag_name="model")
    Region.objects.update(flag_name="region")
    assert set(of_flag("model")) == set(of_flag("region")) == set(rows)
    at, moment = first.updated_at, timedelta(microseconds=1)
    assert list(of_flag("beta", at, at + moment)) == [first]
    assert not of_flag("beta", at + moment).exists()
    assert not of_flag("beta", until=at).exists()


def test_outcome_is_told_from_launch_to_end() -> None:
    make_host()
    host = SimulatedHypervisor()
    account = make_account()
    lives, fails = (launch(make_order(account)) for _ in range(2))
    assert outcome_of(lives).launched is None
    assert outcome_text(lives) == "is being launched"

    runner.run(Job.objects.get(instance=lives).pk, lambda _uri: host)
    lives.refresh_from_db()
    found = outcome_of(lives)
    assert (found.launched, found.ended) == (True, None)
    assert found.to_running is not None
    assert found.to_running > timedelta(0)
    runner.run(delete(lives, "user:carol", "carol").pk, lambda _uri: host)
    lives.refresh_from_db()
    assert outcome_of(lives).ended is Phase.DELETED
    assert "deleted after 0.0 h" in outcome_text(lives)

    fails.phase, fails.ended_at = Phase.FAILED, fails.created_at
    assert outcome_of(fails).launched is False
    assert outcome_text(fails) == "never ran: failed"
