"""The instance page's buttons: offered when they can be used, refused with the reason."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from instances.actions.launch import launch
from instances.jobs import runner
from instances.models import Event, Instance, Job, SeedSettings
from inventory.models import CardClaim
from tests.admin.conftest import browser_of
from tests.admin.test_instance_page import page_of, text_of
from tests.builders import make_disk_image, make_host, make_order, make_plan
from tests.simulated import SimulatedHypervisor

SENT = {"_form_submitted": "1"}
BUTTONS = ("Boot", "Shut down", "Reboot", "Rebuild", "Reset password")
Run = Callable[[], None]


@pytest.fixture
def run_jobs(settings: Settings) -> Run:
    settings.SHUTDOWN_GRACE_S = 0
    host = SimulatedHypervisor()

    def run() -> None:
        for job in Job.objects.filter(card=None).order_by("pk"):
            runner.run(job.pk, lambda _: host)

    return run


@pytest.fixture
def instance(
    staff: Client, run_jobs: Run, tmp_path: Path, settings: Settings
) -> Instance:
    """Give a running instance with a card and a disk."""
    settings.IMAGE_FOLDER = str(tmp_path)
    make_host()
    plan = make_plan(cards=1, disk_mib=64)
    made = launch(make_order(plan=plan.slug, image=make_disk_image(tmp_path).slug))
    run_jobs()
    return made


def offered(client: Client, instance: Instance) -> set[str]:
    text = text_of(client, instance)
    return {b for b in BUTTONS if f'aria-label="{b} this instance"' in text}


def test_what_can_be_done_is_offered_and_the_rest_explained(
    staff: Client, instance: Instance, run_jobs: Run
) -> None:
    assert offered(staff, instance) == {"Shut down", "Reboot", "Rebuild"}
    assert "To reset its password, shut it down first." in text_of(staff, instance)

    done = staff.post(page_of(instance, "shut_down_instance"), SENT)

    assert done["Location"] == page_of(instance)
    assert offered(staff, instance) == set()
    assert "it can only be deleted" in text_of(staff, instance)
    run_jobs()
    assert offered(staff, instance) == {"Boot", "Rebuild", "Reset password"}
    assert "It is off, and holds its cards" in text_of(staff, instance)
    assert CardClaim.objects.filter(released_at=None).count() == 1
    staff.post(page_of(instance, "boot_instance"), SENT)
    run_jobs()
    staff.post(page_of(instance, "reboot_instance"), SENT)
    run_jobs()
    jobs = Job.objects.filter(card=None).order_by("pk")
    assert list(jobs.values_list("kind", "actor", "state"))[1:] == [
        ("shutdown", "user:admin", "succeeded"),
        ("boot", "user:admin", "succeeded"),
        ("reboot", "user:admin", "succeeded"),
    ]


def test_what_comes_too_late_is_refused_with_the_reason(
    staff: Client, instance: Instance
) -> None:
    staff.post(page_of(instance, "reboot_instance"), SENT)

    response = staff.post(page_of(instance, "reboot_instance"), SENT, follow=True)

    assert "Linode busy." in response.content.decode()
    assert Job.objects.filter(kind="reboot").count() == 1


def test_rebuild_asks_for_the_image(
    staff: Client, instance: Instance, run_jobs: Run
) -> None:
    url = page_of(instance, "rebuild_instance")
    asked = staff.get(url).content.decode()
    assert "all that is on its disk is lost" in asked
    assert "linode/debian12" in asked

    staff.post(url, {**SENT, "image": "linode/debian12", "authorized_keys": ""})
    run_jobs()

    instance.refresh_from_db()
    assert (instance.phase, instance.generation) == ("running", 2)


def test_password_is_checked_and_kept_as_a_hash(
    staff: Client, instance: Instance, run_jobs: Run
) -> None:
    staff.post(page_of(instance, "shut_down_instance"), SENT)
    run_jobs()
    url = page_of(instance, "reset_password")

    weak = staff.post(url, {**SENT, "root_pass": "aaaaaaaa"})
    page = weak.content.decode()
    assert "does not meet strength requirement" in page
    assert "aaaaaaaa" not in page
    staff.post(url, {**SENT, "root_pass": "Sonnenblume-7"})

    assert SeedSettings.objects.get().password_hash.startswith("$6$")
    run_jobs()
    assert Event.objects.latest("pk").action == "password_reset"
    assert SeedSettings.objects.count() == 0


def test_watchdog_is_switched(staff: Client, instance: Instance) -> None:
    assert "a guest that crashed is started again" in text_of(staff, instance)

    staff.post(page_of(instance, "switch_watchdog"), SENT)

    instance.refresh_from_db()
    assert instance.watchdog_enabled is False


@pytest.mark.parametrize(
    "name",
    [
        "boot_instance",
        "shut_down_instance",
        "reboot_instance",
        "rebuild_instance",
        "reset_password",
        "switch_watchdog",
    ],
)
def test_viewer_may_switch_nothing(instance: Instance, name: str) -> None:
    viewer = browser_of("instances.view_instance")
    assert offered(viewer, instance) == set()
    jobs = Job.objects.count()

    assert viewer.post(page_of(instance, name), SENT).status_code == 403

    assert Job.objects.count() == jobs
