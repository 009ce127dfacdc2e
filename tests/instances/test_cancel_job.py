"""A queued job is cancelled with all it holds; one that was taken is not; overdue is told."""

from datetime import timedelta

import pytest
from django.utils import timezone

from instances.actions.cancel_job import CANCELLED, cancel_job
from instances.actions.delete import delete
from instances.actions.launch import launch
from instances.exceptions import CannotCancel
from instances.jobs import overdue, runner
from instances.models import Event, Instance, Job
from inventory.exceptions import HostUnreachable
from inventory.ledger import Actor
from inventory.models import AddressClaim, Alert, CardClaim, CardEvent, NodeClaim
from tests.admin.conftest import browser_of
from tests.builders import make_host, make_order, make_plan
from tests.simulated import Faulty, SimulatedHypervisor

pytestmark = pytest.mark.django_db
WHO = Actor("user:operator", "asked for by mistake")


def a_launch() -> tuple[Instance, Job]:
    make_host()
    instance = launch(make_order(plan=make_plan(cards=2).slug))
    return instance, Job.objects.get()


def run(job: Job, host: object) -> list[int]:
    return runner.run(job.pk, lambda _uri: host)  # type: ignore[arg-type,return-value]


def is_anything_held() -> bool:
    return any(
        model.objects.filter(released_at=None).exists()
        for model in (CardClaim, NodeClaim, AddressClaim)
    )


def test_cancelled_launch_holds_nothing_and_says_so() -> None:
    instance, job = a_launch()

    cancel_job(job.pk, WHO)

    job.refresh_from_db()
    instance.refresh_from_db()
    assert (job.state, instance.phase) == ("failed", "failed")
    assert job.internal_detail == "cancelled by user:operator: asked for by mistake"
    assert not is_anything_held()
    event = Event.objects.get()
    assert (event.status, event.message) == ("failed", CANCELLED)
    entry = CardEvent.objects.filter(kind="released").first()
    assert entry is not None
    assert entry.actor == "user:operator"
    host = SimulatedHypervisor()
    assert run(job, host) == []
    assert host.states == {}


def test_job_that_a_worker_has_taken_is_not_cancelled() -> None:
    _instance, job = a_launch()
    refused: list[str] = []

    def cancel(name: str) -> None:
        if name == "start_domain":
            with pytest.raises(CannotCancel) as error:
                cancel_job(job.pk, WHO)
            refused.append(str(error.value))

    run(job, Faulty(SimulatedHypervisor(), cancel))

    job.refresh_from_db()
    assert "no longer queued" in refused[0]
    assert job.state == "succeeded"
    assert CardClaim.objects.filter(released_at=None).count() == 2


def test_delete_is_never_cancelled() -> None:
    instance, job = a_launch()
    run(job, SimulatedHypervisor())
    deletion = delete(instance, "user:tester", "tester")

    with pytest.raises(CannotCancel, match="not cancelled"):
        cancel_job(deletion.pk, WHO)

    deletion.refresh_from_db()
    assert deletion.state == "queued"
    assert is_anything_held()


def test_staff_cancel_a_job_by_a_dialog_that_asks_why() -> None:
    _instance, job = a_launch()
    url = f"/admin/instances/job/{job.pk}/cancel_job/"
    reader = browser_of("instances.view_job")
    editor = browser_of("instances.view_job", "instances.change_job")

    assert reader.post(url, {"_form_submitted": "1", "reason": "no"}).status_code == 403
    editor.post(url, {"_form_submitted": "1", "reason": ""})
    editor.get(url)
    job.refresh_from_db()
    assert job.state == "queued"

    editor.post(url, {"_form_submitted": "1", "reason": "asked for by mistake"})

    job.refresh_from_db()
    assert job.state == "failed"
    assert "asked for by mistake" in job.internal_detail
    page = editor.get(f"/admin/instances/job/{job.pk}/change/")
    assert "cancel_job" not in page.content.decode()


def test_overdue_job_alerts_people_until_it_ends() -> None:
    host = SimulatedHypervisor()
    instance, job = a_launch()
    run(job, host)
    deletion = delete(instance, "user:tester", "tester")
    run(
        deletion, Faulty(host, lambda _: (_ for _ in ()).throw(HostUnreachable("dead")))
    )
    assert overdue.tell_of_overdue() == 0
    past = timezone.now() - timedelta(minutes=1)
    Job.objects.filter(pk=deletion.pk).update(deadline_at=past, not_before=None)

    assert overdue.tell_of_overdue() == 1
    assert overdue.tell_of_overdue() == 1

    alert = Alert.objects.get(source="jobs")
    assert alert.message.startswith("A job is past the deadline, delete #")
    assert ": dead." in alert.message
    run(deletion, host)
    assert overdue.tell_of_overdue() == 0
    alert.refresh_from_db()
    assert alert.cleared_at is not None
