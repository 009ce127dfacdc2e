"""Resizing from the admin: which plans the dialog offers, and what it says."""

import pytest
from django.test import Client

from instances.jobs import runner
from instances.models import Instance, Job
from tests.admin.conftest import browser_of
from tests.builders import GPU_FLAG, make_plan
from tests.simulated import SimulatedHypervisor

pytestmark = pytest.mark.django_db


@pytest.fixture
def running(instance: Instance) -> Instance:
    host = SimulatedHypervisor()
    runner.run(Job.objects.get().pk, lambda _uri: host)
    make_plan("gpu-4", label="Four cards", cards=4, flag_name=GPU_FLAG)
    instance.refresh_from_db()
    return instance


def dialog_of(instance: Instance) -> str:
    return f"/admin/instances/instance/{instance.pk}/resize/"


def test_dialog_offers_what_fits_beside_it(staff: Client, running: Instance) -> None:
    page = staff.get(dialog_of(running), headers={"HX-Request": "true"})

    assert page.status_code == 200
    assert "Two cards" in page.text
    assert "Four cards" not in page.text
    assert "One card<" not in page.text


def test_resize_from_the_dialog_claims_and_sets_to_work(
    staff: Client, running: Instance
) -> None:
    plan = make_plan("gpu-2b", label="Two more", cards=2)
    sent = {"plan": plan.pk, "grows_disk": "on", "_form_submitted": "on"}

    answer = staff.post(dialog_of(running), sent, follow=True)

    assert "trial is being resized to Two more." in answer.text
    running.refresh_from_db()
    job = Job.objects.latest("pk")
    assert (running.phase, job.kind, job.actor) == ("resizing", "resize", "user:admin")


def test_what_does_not_fit_is_refused_with_the_reason(
    staff: Client, running: Instance
) -> None:
    plan = make_plan("gpu-4b", label="Four more", cards=4)
    sent = {"plan": plan.pk, "_form_submitted": "on"}

    answer = staff.post(dialog_of(running), sent, follow=True)

    assert "the host does not fit gpu-4b" in answer.text
    assert Job.objects.count() == 1


def test_only_who_may_change_instances_is_offered_it(running: Instance) -> None:
    viewer = browser_of("instances.view_instance")
    page = viewer.get(f"/admin/instances/instance/{running.pk}/change/")
    assert "Resize this instance" not in page.text
    assert viewer.post(dialog_of(running), {}).status_code == 403
