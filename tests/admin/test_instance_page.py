"""The instance page: steps, placement and console while they change, and the delete."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from instances.actions.delete import delete
from instances.admin import live
from instances.jobs import runner
from instances.models import Instance, Job
from inventory.choices import HostConnection
from inventory.exceptions import HostUnreachable
from inventory.models import CardClaim, Host
from tests.admin.conftest import browser_of
from tests.builders import make_order
from tests.simulated import SimulatedHypervisor

Run = Callable[[], None]


@pytest.fixture
def run_jobs(
    simulated_host: SimulatedHypervisor, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Give a worker that does all jobs on a simulated host; the console is there too."""
    monkeypatch.setattr("instances.console.connect", lambda _: simulated_host)

    def run() -> None:
        for job in Job.objects.order_by("pk"):
            runner.run(job.pk, lambda _: simulated_host)

    return run


def page_of(instance: Instance, name: str = "change") -> str:
    return f"/admin/instances/instance/{instance.pk}/{name}/"


def text_of(client: Client, instance: Instance, name: str = "change") -> str:
    response = client.get(page_of(instance, name))
    assert response.status_code == 200
    return response.content.decode()


def test_waiting_launch_is_polled_every_second(
    staff: Client, instance: Instance
) -> None:
    text = text_of(staff, instance, "progress")

    assert 'data-phase="provisioning"' in text
    assert "every 1s" in text
    assert text.count('data-state="pending"') == 8


def test_running_instance_shows_its_steps_and_placement(
    staff: Client, instance: Instance, run_jobs: Run
) -> None:
    run_jobs()

    text = text_of(staff, instance)

    assert 'data-phase="running"' in text
    assert text.count('data-state="done"') == 8
    assert "every 10s" in text
    assert "host-a" in text
    assert "0000:21:00" in text
    assert "vCPU 0 → CPU 0" in text
    assert "256 MiB" in text


def test_ended_instance_shows_what_it_held(
    staff: Client, instance: Instance, run_jobs: Run
) -> None:
    run_jobs()
    delete(instance, "user:admin", "admin")
    run_jobs()

    text = text_of(staff, instance)

    assert 'data-phase="deleted"' in text
    assert "All of it is released" in text
    assert "0000:21:00" in text


def test_failure_shows_both_messages(staff: Client, instance: Instance) -> None:
    Job.objects.update(
        public_message="The host refused this machine.",
        internal_detail="libvirt code 55: <PCI device> is in use",
    )

    text = text_of(staff, instance, "progress")

    assert "The host refused this machine." in text
    assert "libvirt code 55: &lt;PCI device&gt; is in use" in text


def test_console_shows_what_the_guest_wrote_as_text(
    staff: Client,
    instance: Instance,
    run_jobs: Run,
    simulated_host: SimulatedHypervisor,
) -> None:
    run_jobs()
    volume = ("gpucloud-console", f"{instance.uuid}.log")
    simulated_host.volumes[volume] = b"\x1b[1;31mred\x1b[0m\r\n<script>\x07 \xff\r\n"

    text = text_of(staff, instance, "console")

    assert "red\n&lt;script&gt; \ufffd\n</pre>" in text


def test_console_of_a_host_that_does_not_answer_is_a_message(
    staff: Client,
    instance: Instance,
    run_jobs: Run,
    simulated_host: SimulatedHypervisor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_jobs()

    def silence(*_: object) -> bytes:
        raise HostUnreachable("no answer in time")

    monkeypatch.setattr(simulated_host, "read_volume_tail", silence)
    assert "no answer in time" in text_of(staff, instance, "console")

    # Once the host is known to be silent it is not even asked.
    monkeypatch.setattr(simulated_host, "read_volume_tail", None)
    Host.objects.update(connection=HostConnection.UNKNOWN)
    assert "host-a does not answer" in text_of(staff, instance, "console")


def test_console_before_and_after_life_asks_nobody(
    staff: Client, instance: Instance
) -> None:
    assert "Nothing runs yet" in text_of(staff, instance, "console")

    Instance.objects.update(phase="failed", ended_at=timezone.now())
    text = text_of(staff, instance, "console")
    assert "has ended" in text
    assert "hx-get" not in text


def test_delete_asks_first_and_then_deletes(
    staff: Client, instance: Instance, run_jobs: Run
) -> None:
    run_jobs()
    url = page_of(instance, "delete_instance")

    asked = staff.get(url)
    assert "Delete this instance?" in asked.content.decode()
    assert Job.objects.count() == 1

    done = staff.post(url, {"_form_submitted": "1"}, headers={"HX-Request": "true"})
    assert done["HX-Redirect"] == page_of(instance)
    job = Job.objects.order_by("pk").last()
    assert job is not None
    assert (job.kind, job.actor) == ("delete", "user:admin")

    run_jobs()
    instance.refresh_from_db()
    assert instance.phase == "deleted"
    assert CardClaim.objects.filter(released_at=None).count() == 0


def test_second_delete_is_a_message(staff: Client, instance: Instance) -> None:
    url = page_of(instance, "delete_instance")
    staff.post(url, {"_form_submitted": "1"})

    response = staff.post(url, {"_form_submitted": "1"}, follow=True)

    assert "Linode busy." in response.content.decode()
    assert Job.objects.filter(kind="delete").count() == 1


def test_viewer_sees_but_cannot_delete(instance: Instance) -> None:
    viewer = browser_of("instances.view_instance")

    assert "Delete this instance" not in text_of(viewer, instance)
    response = viewer.post(
        page_of(instance, "delete_instance"), {"_form_submitted": "1"}
    )
    assert response.status_code == 403
    assert Job.objects.count() == 1


@pytest.mark.parametrize("name", ["progress", "console"])
def test_parts_are_for_who_may_see_instances(name: str, instance: Instance) -> None:
    stranger = browser_of("inventory.view_card")
    assert stranger.get(page_of(instance, name)).status_code == 403

    nobody = Client().get(page_of(instance, name))
    assert (nobody["HX-Refresh"], nobody.content) == ("true", b"")


@pytest.mark.parametrize("name", ["progress", "console"])
def test_parts_of_no_instance_are_not_found(name: str, staff: Client) -> None:
    assert staff.get(f"/admin/instances/instance/999/{name}/").status_code == 404


def test_page_of_no_instance_is_not_found(staff: Client) -> None:
    assert staff.get("/admin/instances/instance/999/change/").status_code == 404


def test_consumer_leads_to_its_instance(staff: Client, instance: Instance) -> None:
    response = staff.get(f"/admin/consumer/{instance.uuid}/")

    assert response["Location"] == page_of(instance)


def test_split_placement_numbers_its_vcpus_through(
    fleet: Host, instance: Instance
) -> None:
    from instances.actions.launch import launch
    from tests.builders import make_plan

    plan = make_plan(cards=3, vcpus=3, memory_mib=768)
    split = launch(make_order(plan=plan.slug))

    holding = live.holding_of(split)

    assert holding is not None
    assert holding.is_split
    assert [pin.vcpu for node in holding.nodes for pin in node.pins] == [0, 1, 2]
    assert sum(len(node.cards) for node in holding.nodes) == 3
