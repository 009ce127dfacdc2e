"""A secret that is planted in each input is found nowhere afterwards, in no clear form."""

import base64
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from pytest_django import Settings

from flags.models import Flag
from instances.actions.adopt import AdoptOrder
from instances.models import Instance, Job, Plan, Trial
from inventory.models import Host
from tests.admin.conftest import staff
from tests.admin.test_pages import url_of
from tests.admin.test_readiness import decide
from tests.admin.test_trials import FORM as GRANT
from tests.api.builders import ORDER, Customer, work
from tests.api.conftest import customer, shop, with_a_disk
from tests.api.test_isolation import LISTS
from tests.builders import GPU_FLAG
from tests.instances.test_adopt import adopted, lost
from tests.instances.test_force_release import host
from tests.simulated import Faulty, SimulatedHypervisor

__all__ = ["customer", "host", "lost", "shop", "staff", "with_a_disk"]

Look = Callable[..., None]
PASSWORD = "Planted-Passw0rd-1"
REBUILT = "Planted-Rebuild-2"
RESET = "Planted-Reset-3"
USER_DATA = "#cloud-config\n# Planted-user-data-4\n"
PRIVATE_KEY = "-----BEGIN OPENSSH PRIVATE KEY----- Planted-private-key-5"
STAFF = "Planted-staff-6"
SCRAPER = "Planted-scraper-token-7" + "x" * 20
BROKEN = "Planted-broken-8"


def forms_of(secret: str) -> set[str]:
    """Return how a secret looks in text, in base64 at any offset, and in a bytea."""
    raw = secret.encode()
    padded = {
        # Without the ends, which depend on what stands beside them.
        base64.b64encode(b"x" * offset + raw)[4:-4].decode()
        for offset in range(3)
    }
    return {secret, raw.hex(), *padded}


def rows() -> dict[str, str]:
    """Return each table of the database as text, by its name."""
    with connection.cursor() as cursor:
        found = {}
        for table in connection.introspection.table_names(cursor):
            statement = f'SELECT row_to_json(t)::text FROM "{table}" AS t'  # noqa: S608
            cursor.execute(statement)
            found[f"table {table}"] = "\n".join(row for (row,) in cursor.fetchall())
    return found


def pages(staff: Client, customer: Customer) -> dict[str, str]:
    """Return what people and machines are shown, by address."""
    addresses = ["/admin/", "/admin/health/", "/health/ready", "/metrics"]
    for model in admin.site._registry:
        rows = model._default_manager.all()[:3]
        addresses += [url_of(model, "change", row.pk) for row in rows]
        addresses.append(url_of(model, "changelist"))
    shown = {address: staff.get(address).text for address in addresses}
    for path in (
        *("/account/events", "/linode/instances", "/profile", "/profile/tokens"),
        *("/gpucloud/webhooks", "/account", "/profile/sshkeys"),
    ):
        shown[path] = customer.api.get(path).content.decode()
    return shown


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Give all that is logged, unmasked: a secret must not even get there."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(logging.Formatter().format(record))

    handler = Keep()
    logger = logging.getLogger()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


@pytest.fixture
def secrets(customer: Customer, settings: Settings) -> dict[str, str]:
    """Give what is planted, and what is only ever shown once, by name."""
    settings.METRICS_TOKEN = SCRAPER
    token = {"label": "two", "scopes": "*"}
    hook = {"url": "https://ops.example.net/hook", "actions": []}
    return {
        "password": PASSWORD,
        "password of a rebuild": REBUILT,
        "password of a reset": RESET,
        "user data": USER_DATA,
        "private key": PRIVATE_KEY,
        "password of staff": STAFF,
        "token of the scraper": SCRAPER,
        "body that is no JSON": BROKEN,
        "token in use": customer.api.headers["authorization"].split()[1],
        "token issued": customer.api.post("/profile/tokens", token).json()["token"],
        "webhook": customer.api.post("/gpucloud/webhooks", hook).json()["secret"],
    }


@pytest.fixture
def assert_found_nowhere(
    secrets: dict[str, str], staff: Client, customer: Customer, logged: list[str]
) -> Look:
    def look(when: str, *, in_pages: bool = True) -> None:
        places = {**rows(), "log": "\n".join(logged)}
        if in_pages:
            places |= pages(staff, customer)
        seen = [text for place, text in places.items() if place.startswith("/admin/")]
        assert all("</html>" in text for text in seen)
        for name, secret in secrets.items():
            for form in forms_of(secret):
                where = [place for place, text in places.items() if form in text]
                assert (when, name, where) == (when, name, [])

    return look


@pytest.fixture
def order(customer: Customer, with_a_disk: Callable[[Customer], int]) -> dict[str, Any]:
    """Give what an instance with a password and user data is ordered with."""
    made = Instance.objects.get(pk=with_a_disk(customer))
    return {
        "type": "disk-plan",
        "region": "us-east",
        "image": made.image.slug,
        "root_pass": PASSWORD,
        "metadata": {"user_data": base64.b64encode(USER_DATA.encode()).decode()},
    }


def test_secrets_in_refused_requests_are_found_nowhere(
    customer: Customer,
    order: dict[str, Any],
    assert_found_nowhere: Look,
) -> None:
    Client().post("/admin/login/", {"username": "admin", "password": STAFF})
    scraper = {"Authorization": f"Bearer {SCRAPER}"}
    Client(REMOTE_ADDR="192.0.2.1").get("/metrics", headers=scraper)
    for refused in (
        f'{{"root_pass": "{BROKEN}"'.encode(),
        {**order, "type": "no-such-type"},
        {**order, "authorized_keys": [PRIVATE_KEY]},
        {**order, "metadata": USER_DATA},
        {**order, "region": PASSWORD},
    ):
        assert customer.api.post("/linode/instances", refused).status_code == 400
    customer.api.post("/profile/sshkeys", {"label": "x", "ssh_key": PRIVATE_KEY})

    assert_found_nowhere("refused")


def test_secrets_of_an_instance_are_found_nowhere_in_its_life(
    customer: Customer,
    order: dict[str, Any],
    assert_found_nowhere: Look,
) -> None:
    host = SimulatedHypervisor()

    def ask(path: str, body: dict[str, Any]) -> int:
        answer = customer.api.post(f"/linode/instances{path}", body)
        assert answer.status_code == 200, answer.content
        # What pages could show is in rows; pages cost seconds.
        assert_found_nowhere(f"{path} queued", in_pages=False)
        return int(answer.json().get("id", 0))

    failed = ask("", order)
    broken: Any = Faulty(host, _break_the_seed)
    work(broken)
    assert Job.objects.get(instance=failed).state == "failed"
    assert_found_nowhere("failed", in_pages=False)

    linode = ask("", order)
    work(host)
    for path, body in (
        ("shutdown", {}),
        ("password", {"root_pass": RESET}),
        ("rebuild", {"image": order["image"], "root_pass": REBUILT}),
    ):
        ask(f"/{linode}/{path}", body)
        work(host)
    states = Job.objects.filter(instance=linode).values_list("state", flat=True)
    assert list(states) == ["succeeded"] * 4
    seed = b"".join(host.volumes.values())
    assert b"$6$" in seed
    assert_found_nowhere("done")


def _break_the_seed(method: str) -> None:
    if method == "write_volume":
        raise ValueError("an error that nobody thought of")


# What people write in words of their own -> the tables that it stands in.
WORDS = {
    "feedback": {"instances_instancefeedback"},
    "reason of a trial": {"instances_trial", "django_admin_log"},
    "remark of its end": {"instances_trial", "django_admin_log"},
    "remark of a decision": {"flags_launchdecision"},
    "reason of a launch": {"flags_flagchange", "django_admin_log"},
    "reason of an adoption": {"inventory_cardevent"},
}


def test_what_people_write_stays_where_they_wrote_it(
    staff: Client,
    customer: Customer,
    shop: dict[str, Plan],
    host: Host,
    lost: Instance,
    simulated_host: SimulatedHypervisor,
    logged: list[str],
) -> None:
    words = {name: f"Planted-{name.replace(' ', '-')}" for name in WORDS}
    hook = {"url": "https://ops.example.net/hook", "actions": []}
    customer.api.post("/gpucloud/webhooks", hook)
    linode = customer.api.post("/linode/instances", ORDER).json()["id"]
    flag = Flag.objects.get(name=GPU_FLAG)

    said = {"workload": "rendering", "text": words["feedback"]}
    told = customer.api.put(f"/gpucloud/instances/{linode}/feedback", said)
    assert told.json()["text"] == words["feedback"]
    form = {**GRANT, "plans": [shop["gpu"].pk], "reason": words["reason of a trial"]}
    staff.post(f"/admin/instances/account/{customer.account.pk}/grant_trial/", form)
    cut = {"_form_submitted": "1", "reason": words["remark of its end"]}
    staff.post(f"/admin/instances/trial/{Trial.objects.get().pk}/cut_short/", cut)
    decide(staff, flag, "go", words["remark of a decision"])
    launched = {"launch": "1", "reason": words["reason of a launch"]}
    staff.post(f"/admin/readiness/{flag.pk}/launch/", launched)
    reason = words["reason of an adoption"]
    adopted(AdoptOrder(host.pk, lost.uuid, "user:ann", reason), simulated_host)

    tables = rows()
    told_to = {path: customer.api.get(path).content.decode() for path in LISTS}
    others = {"log": "\n".join(logged), "/metrics": staff.get("/metrics").text}
    for name, word in words.items():
        where = {table for table, text in tables.items() if word in text}
        assert (name, where) == (name, {f"table {each}" for each in WORDS[name]})
        for place, text in {**told_to, **others}.items():
            assert word not in text, (name, place)
