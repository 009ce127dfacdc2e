"""Boot, reboot, shutdown, rebuild, password, watchdog: over the API, in Linode's words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from instances.jobs import runner
from instances.models import ApiChange, Event, Image, Instance, Job, Plan, SeedSettings
from inventory.models import CardClaim
from tests.api.builders import ORDER, Customer, errors_of, make_customer
from tests.builders import make_disk_image, make_plan
from tests.instances.test_disk_steps import KEY
from tests.simulated import SimulatedHypervisor

pytestmark = pytest.mark.django_db
PASSWORD = "Sonnenblume-7"
VERBS = ("boot", "reboot", "shutdown", "rebuild", "password")


@pytest.fixture
def host(settings: Settings) -> SimulatedHypervisor:
    settings.SHUTDOWN_GRACE_S = 0
    return SimulatedHypervisor()


@pytest.fixture
def image(shop: dict[str, Plan], tmp_path: Path, settings: Settings) -> Image:
    settings.IMAGE_FOLDER = str(tmp_path)
    make_plan("disk-plan", cards=1, memory_mib=128, disk_mib=64)
    return make_disk_image(tmp_path)


def work(host: SimulatedHypervisor) -> None:
    for job in Job.objects.filter(card=None).order_by("pk"):
        runner.run(job.pk, connect_to=lambda uri: host)


def created(customer: Customer, **fields: Any) -> int:
    order = {
        "type": "disk-plan",
        "region": "us-east",
        "image": "linode/debian12",
        "root_pass": PASSWORD,
        **fields,
    }
    answer = customer.api.post("/linode/instances", order)
    assert answer.status_code == 200, answer.content
    return int(answer.json()["id"])


@pytest.fixture
def linode(
    customer: Customer, image: Image, host: SimulatedHypervisor
) -> Callable[[], dict[str, Any]]:
    """Give a running Linode with a disk: a function that shows it."""
    linode_id = created(customer)
    work(host)
    return lambda: dict(customer.api.get(f"/linode/instances/{linode_id}").json())


def verb(customer: Customer, linode_id: int, name: str, body: Any = None) -> Any:
    return customer.api.post(f"/linode/instances/{linode_id}/{name}", body)


def test_a_linode_is_shut_down_booted_and_rebooted(
    customer: Customer, linode: Callable[[], dict[str, Any]], host: SimulatedHypervisor
) -> None:
    linode_id = linode()["id"]
    for name, on_the_way, then in (
        ("shutdown", "shutting_down", "offline"),
        ("boot", "booting", "running"),
        ("reboot", "rebooting", "running"),
    ):
        answer = verb(customer, linode_id, name)
        assert (answer.status_code, answer.json()) == (200, {})
        assert linode()["status"] == on_the_way
        work(host)
        assert linode()["status"] == then
        assert CardClaim.objects.filter(released_at=None).count() == 1
    events = customer.api.get("/account/events").json()["data"][:3]
    assert [(e["action"], e["status"], e["percent_complete"]) for e in events] == [
        ("linode_reboot", "finished", 100),
        ("linode_boot", "finished", 100),
        ("linode_shutdown", "finished", 100),
    ]
    assert {e["entity"]["id"] for e in events} == {linode_id}
    assert ApiChange.objects.filter(path__endswith="/reboot", status=200).count() == 1


def test_what_comes_meanwhile_is_refused_and_makes_no_job(
    customer: Customer, linode: Callable[[], dict[str, Any]]
) -> None:
    linode_id = linode()["id"]
    verb(customer, linode_id, "reboot")
    jobs = Job.objects.count()
    bodies = {"rebuild": {"image": "linode/debian12", "root_pass": PASSWORD}}
    for name in VERBS:
        body = bodies.get(name, {"root_pass": PASSWORD} if name == "password" else None)
        answer = verb(customer, linode_id, name, body)
        assert answer.status_code == 400
        assert errors_of(answer) == [(None, "Linode busy.")]
    assert Job.objects.count() == jobs
    assert SeedSettings.objects.count() == 0
    assert customer.api.delete(f"/linode/instances/{linode_id}").status_code == 200
    assert linode()["status"] == "deleting"


def test_repeats_make_no_second_job(
    customer: Customer, linode: Callable[[], dict[str, Any]], host: SimulatedHypervisor
) -> None:
    linode_id = linode()["id"]
    assert verb(customer, linode_id, "boot").status_code == 200
    verb(customer, linode_id, "shutdown")
    work(host)
    assert verb(customer, linode_id, "shutdown").status_code == 200
    kinds = Job.objects.filter(card=None).order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == ["launch", "shutdown"]


def test_rebuild_answers_with_the_linode(
    customer: Customer,
    linode: Callable[[], dict[str, Any]],
    host: SimulatedHypervisor,
    tmp_path: Path,
) -> None:
    before = linode()
    other = make_disk_image(tmp_path, "linode/other", label="Other")
    body = {"image": other.slug, "authorized_keys": [KEY], "booted": False}

    answer = verb(customer, before["id"], "rebuild", body)

    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["image"]) == (
        "rebuilding",
        "linode/other",
    )
    work(host)
    after = linode()
    assert (after["status"], after["image"]) == ("offline", "linode/other")
    assert after["ipv4"] == before["ipv4"]
    assert Event.objects.latest("pk").action == "linode_rebuild"


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, [("image", "You must specify an image")]),
        ({"root_pass": PASSWORD}, [("image", "You must specify an image")]),
        ({"image": 5}, [("image", "You must specify an image")]),
        (
            {"image": "linode/debian12"},
            [(None,
              "Must provide valid root_pass, authorized_keys, or authorized_users")],
        ),
        (
            {"image": "linode/nope", "root_pass": "aaaaaaaa", "booted": 1, "nope": 1},
            [("root_pass", "Password does not meet strength requirement."),
             (None,
              "Must provide valid root_pass, authorized_keys, or authorized_users"),
             ("booted", "booted must be true or false"),
             ("nope", "There is no such field"),
             ("image", "image is not valid")],
        ),
        (
            {"image": "linode/debian12", "root_pass": PASSWORD, "type": "other"},
            [("type", "A rebuild keeps the type; resize the Linode instead")],
        ),
        (
            {"image": "linode/debian12", "root_pass": PASSWORD, "stackscript_id": 7},
            [("stackscript_id", "stackscript_id cannot be had yet; leave it out")],
        ),
    ],
)  # fmt: skip
def test_wrong_rebuild_is_refused_whole(
    customer: Customer,
    linode: Callable[[], dict[str, Any]],
    body: dict[str, Any],
    errors: list[Any],
) -> None:
    answer = verb(customer, linode()["id"], "rebuild", body)
    assert answer.status_code == 400
    assert errors_of(answer) == errors
    assert linode()["status"] == "running"


def test_password_is_reset_while_offline(
    customer: Customer, linode: Callable[[], dict[str, Any]], host: SimulatedHypervisor
) -> None:
    linode_id = linode()["id"]
    refused = verb(customer, linode_id, "password", {"root_pass": PASSWORD})
    assert errors_of(refused) == [
        (None, "Linode must be powered off to reset its password.")
    ]
    verb(customer, linode_id, "shutdown")
    work(host)
    weak = verb(customer, linode_id, "password", {"root_pass": "aaaaaaaa"})
    assert errors_of(weak) == [
        ("root_pass", "Password does not meet strength requirement.")
    ]
    none = verb(customer, linode_id, "password", {})
    assert errors_of(none) == [("root_pass", "root_pass is required")]

    answer = verb(customer, linode_id, "password", {"root_pass": PASSWORD})

    assert (answer.status_code, answer.json()) == (200, {})
    assert PASSWORD not in str(vars(SeedSettings.objects.get()))
    assert linode()["status"] == "offline"
    work(host)
    assert SeedSettings.objects.count() == 0
    event = Event.objects.latest("pk")
    assert (event.action, event.status) == ("password_reset", "finished")


@pytest.mark.parametrize("name", ["boot", "reboot"])
def test_configuration_that_is_not_there_is_refused(
    customer: Customer, linode: Callable[[], dict[str, Any]], name: str
) -> None:
    linode_id = linode()["id"]
    answer = verb(customer, linode_id, name, {"config_id": 7})
    assert errors_of(answer) == [
        ("config_id", "There are no configuration profiles; leave config_id out")
    ]
    assert verb(customer, linode_id, name, {"config_id": None}).status_code == 200


def test_disks_and_configurations_are_what_there_is(
    customer: Customer, linode: Callable[[], dict[str, Any]]
) -> None:
    linode_id = linode()["id"]
    (disk,) = customer.api.get(f"/linode/instances/{linode_id}/disks").json()["data"]
    assert (disk["label"], disk["size"], disk["status"]) == (
        "Debian 12 Disk",
        64,
        "ready",
    )
    configs = customer.api.get(f"/linode/instances/{linode_id}/configs").json()
    assert (configs["data"], configs["results"]) == ([], 0)
    probe = customer.api.post("/linode/instances", ORDER).json()
    disks = customer.api.get(f"/linode/instances/{probe['id']}/disks").json()
    assert disks["data"] == []


def test_left_off_at_the_create(
    customer: Customer, image: Image, host: SimulatedHypervisor
) -> None:
    linode_id = created(customer, booted=False)
    work(host)
    shown = customer.api.get(f"/linode/instances/{linode_id}").json()
    assert shown["status"] == "offline"
    assert CardClaim.objects.filter(released_at=None).count() == 1


def test_watchdog_is_switched_by_a_put(
    customer: Customer, linode: Callable[[], dict[str, Any]]
) -> None:
    path = f"/linode/instances/{linode()['id']}"
    assert linode()["watchdog_enabled"] is True

    answer = customer.api.put(path, {"watchdog_enabled": False})

    assert answer.json()["watchdog_enabled"] is False
    assert Instance.objects.get().watchdog_enabled is False
    assert Instance.objects.get().label == answer.json()["label"]
    assert Event.objects.latest("pk").action == "linode_update"


@pytest.mark.parametrize("name", VERBS)
def test_a_token_that_may_only_read_changes_nothing(
    customer: Customer, linode: Callable[[], dict[str, Any]], name: str
) -> None:
    reader = make_customer(scopes="linodes:read_only", account=customer.account)
    answer = verb(reader, linode()["id"], name, {"root_pass": PASSWORD})
    assert answer.status_code == 401
    assert linode()["status"] == "running"
