"""The way of a launch over real HTTP, workers, libvirt, QEMU and vfio."""

import json
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from inventory.hypervisor.supervised import SupervisedHypervisor
from inventory.hypervisor.xml import LiveDomain, parse_domain
from tests.e2e.conftest import Stack
from tests.e2e.observing import rows
from tests.simulated import stranger_on

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.gpuhost,
    pytest.mark.usefixtures("unsanitised"),
]
LAUNCH_S = 180


class Customer:
    """An API client of the plainest kind."""

    def __init__(self, stack: Stack, owner: str) -> None:
        self._url = stack.url
        self._token = stack.tokens[owner]

    def call(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        request = Request(  # noqa: S310 -- loopback
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/json",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )
        try:
            with urlopen(request, timeout=60) as answer:  # noqa: S310
                return answer.status, _content(answer)
        except HTTPError as error:
            return error.code, _content(error)

    def create(self, cards: int, **fields: Any) -> dict[str, Any]:
        status, instance = self.call(
            "POST",
            "/v4/linode/instances",
            {
                "type": f"lab-gpu-rtx6000-{cards}",
                "region": "us-east",
                "image": "gpucloud/probe",
                **fields,
            },
        )
        assert status == 200, instance
        return dict(instance)

    def wait_for(self, instance_id: int, status: str) -> dict[str, Any]:
        """Poll as clients do; also fails at once when the machine is gone."""
        deadline = time.monotonic() + LAUNCH_S
        while True:
            code, instance = self.call("GET", f"/v4/linode/instances/{instance_id}")
            assert code == 200, (instance, self.call("GET", "/v4/account/events"))
            if instance["status"] == status:
                return dict(instance)
            assert time.monotonic() < deadline, instance
            time.sleep(0.3)

    def wait_gone(self, instance_id: int) -> None:
        deadline = time.monotonic() + LAUNCH_S
        while self.call("GET", f"/v4/linode/instances/{instance_id}")[0] != 404:
            assert time.monotonic() < deadline
            time.sleep(0.3)

    def console(
        self, instance_id: int, until: str = "PROBE-DONE", within_s: float = LAUNCH_S
    ) -> str:
        """Return the console's text once it has `until` and the end of that line."""
        deadline = time.monotonic() + within_s
        text = ""
        while not re.search(re.escape(until) + r".*\n", text):
            assert time.monotonic() < deadline, text[-3000:]
            time.sleep(0.5)
            _, text = self.call("GET", f"/v4/gpucloud/instances/{instance_id}/console")
        return str(text)


def _content(answer: Any) -> Any:
    text = answer.read().decode()
    return json.loads(text) if "json" in answer.headers["Content-Type"] else text


@pytest.fixture
def employee(stack: Stack) -> Iterator[Customer]:
    """Give an employee's client; whatever is left running afterwards is deleted."""
    customer = Customer(stack, "employee")
    # What the test before released is ready first.
    stack.wait_for_cards()
    yield customer
    _, listed = customer.call("GET", "/v4/linode/instances")
    for instance in listed["data"]:
        customer.call("DELETE", f"/v4/linode/instances/{instance['id']}")
        customer.wait_gone(instance["id"])


@pytest.fixture
def hypervisor(stack: Stack) -> Iterator[SupervisedHypervisor]:
    connection = SupervisedHypervisor(stack.hosts[0].libvirt_uri)
    yield connection
    connection.close()


def claims_of(stack: Stack, instance_id: int) -> dict[str, Any]:
    consumer = f"Instance.objects.get(pk={instance_id}).uuid"
    return {
        "cards": rows(
            stack,
            "sorted(c.card.slot_path + '.0' for c in CardClaim.objects.filter("
            f"consumer={consumer}, released_at=None))",
        ),
        "nodes": rows(
            stack,
            "[[c.numa_node.number, c.cpus[:c.vcpus], c.memory_mib] for c in "
            f"NodeClaim.objects.filter(consumer={consumer}, released_at=None)"
            ".order_by('numa_node__number')]",
        ),
        "uuid": rows(stack, f"str({consumer})"),
    }


def assert_live_equals(claimed: dict[str, Any], live: LiveDomain) -> None:
    assert [str(address) for address in live.hostdevs] == claimed["cards"]
    assert [cpu for (cpu,) in live.vcpu_pins.values()] == [
        cpu for _, cpus, _ in claimed["nodes"] for cpu in cpus
    ]
    assert live.memory_mib == sum(mib for _, _, mib in claimed["nodes"])
    assert list(live.memory_nodes) == [node for node, _, _ in claimed["nodes"]]
    if len(claimed["nodes"]) > 1:
        assert [live.cells[i] for i in sorted(live.cells)] == [
            (node, mib) for node, _, mib in claimed["nodes"]
        ]


def assert_told(
    customer: Customer, instance_id: int, console: str, live: LiveDomain
) -> None:
    """The customer is told where the guest really finds its cards, and what is pinned."""
    path = f"/v4/gpucloud/instances/{instance_id}"
    _, gpus = customer.call("GET", f"{path}/gpus")
    _, topology = customer.call("GET", f"{path}/topology")
    seen = re.findall(r"GPU-SEEN .* at (\S+)", console)
    assert [gpu["pci_address"] for gpu in gpus["data"]] == [f"0000:{a}" for a in seen]
    nodes = topology["nodes"]
    assert tuple(node["host_node"] for node in nodes) == live.memory_nodes
    pins = {p["vcpu"]: (p["host_cpu"],) for node in nodes for p in node["pins"]}
    assert pins == live.vcpu_pins
    assert [gpu["node"] for gpu in gpus["data"]] == [
        live.hostdev_cells.get(address, 0) for address in live.hostdevs
    ]


@pytest.mark.parametrize("cards", [1, 2, 3, 4])
def test_launch_shows_the_guest_its_cards_and_delete_returns_them(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor, cards: int
) -> None:
    instance = employee.create(cards)
    assert instance["status"] in ("provisioning", "booting")
    running = employee.wait_for(instance["id"], "running")
    assert running["specs"]["gpus"] == cards

    console = employee.console(instance["id"])
    assert console.count("GPU-SEEN 10de:1e30 class 030000") == cards
    assert console.count("GPU-MEM ok") == cards
    claimed = claims_of(stack, instance["id"])
    assert len(claimed["cards"]) == cards
    live = parse_domain(hypervisor.domain_xml(claimed["uuid"]))
    assert_live_equals(claimed, live)
    assert len(live.memory_nodes) == (2 if cards > 2 else 1)
    assert_told(employee, instance["id"], console, live)

    assert employee.call("DELETE", f"/v4/linode/instances/{instance['id']}") == (
        200,
        {},
    )
    employee.wait_gone(instance["id"])

    assert claimed["uuid"] not in hypervisor.domains()
    assert rows(stack, "CardClaim.objects.filter(released_at=None).count()") == 0
    assert rows(stack, "NodeClaim.objects.filter(released_at=None).count()") == 0
    _, events = employee.call("GET", "/v4/account/events")
    assert [
        (event["action"], event["status"])
        for event in events["data"]
        if event["entity"]["id"] == instance["id"]
    ] == [
        ("linode_delete", "finished"),
        ("linode_boot", "finished"),
        ("linode_create", "finished"),
    ]


def test_used_card_is_refused_by_libvirt_and_the_launch_is_undone(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor
) -> None:
    """A stranger's domain on the host takes a card that the rows say is free."""
    first = employee.create(1)
    employee.wait_for(first["id"], "running")
    claimed = claims_of(stack, first["id"])
    stranger = str(uuid.uuid4())
    free = rows(
        stack,
        "sorted(set(Card.objects.values_list('slot_path', flat=True)) - set("
        "CardClaim.objects.filter(released_at=None)"
        ".values_list('card__slot_path', flat=True)))",
    )
    # The next launch takes the neighbour of the first card: best fit fills the node.
    neighbour = next(slot for slot in free if slot[:6] == claimed["cards"][0][:6])
    # Reconciliation would see the stranger and keep the card from sale: this is about
    # the time until then.
    with stack.unwatched():
        hypervisor.define_domain(stranger_on(f"{neighbour}.0", stranger))
        try:
            hypervisor.start_domain(stranger)

            second = employee.create(1)
            employee.wait_gone(second["id"])
        finally:
            hypervisor.destroy_domain(stranger)
            hypervisor.undefine_domain(stranger)

    _, events = employee.call("GET", "/v4/account/events")
    failed = next(e for e in events["data"] if e["entity"]["id"] == second["id"])
    assert failed["status"] == "failed"
    assert failed["message"] == (
        "The host refused this machine. Nothing is held or charged for it."
    )
    detail = rows(stack, f"Job.objects.get(instance={second['id']}).internal_detail")
    assert f"PCI device {neighbour}.0 is in use" in detail
    # A guest of ours may look at the card that the launch gave back.
    stack.wait_for_cards()
    # Not looked at for so long, the host would sell nothing to the next test.
    stack.manage("reconcile")
    assert set(hypervisor.domains()) == {claimed["uuid"]}
    assert rows(stack, "CardClaim.objects.filter(released_at=None).count()") == 1
    assert employee.wait_for(first["id"], "running")["id"] == first["id"]


def test_repeated_create_with_one_key_makes_one_machine(
    stack: Stack, employee: Customer
) -> None:
    body = {"type": "lab-gpu-rtx6000-1", "region": "us-east", "image": "gpucloud/probe"}

    answers = [
        employee.call("POST", "/v4/linode/instances", body, Idempotency_Key="one")
        for _ in range(3)
    ]

    assert {answer["id"] for _, answer in answers} == {answers[0][1]["id"]}
    employee.wait_for(answers[0][1]["id"], "running")


def test_account_without_the_flag_sees_and_gets_no_gpu(stack: Stack) -> None:
    outsider = Customer(stack, "no_gpu")

    _, types = outsider.call("GET", "/v4/linode/types")
    refused = outsider.call(
        "POST",
        "/v4/linode/instances",
        {"type": "lab-gpu-rtx6000-1", "region": "us-east", "image": "gpucloud/probe"},
    )
    unknown = outsider.call(
        "POST",
        "/v4/linode/instances",
        {"type": "no-such-plan", "region": "us-east", "image": "gpucloud/probe"},
    )

    assert [each for each in types["data"] if each["gpus"]] == []
    assert refused == unknown
    assert refused[0] == 400


def test_worker_killed_in_a_launch_is_followed_by_another(
    stack: Stack, employee: Customer, hypervisor: SupervisedHypervisor
) -> None:
    """The job waits for its lease; here its end is brought forward to save minutes."""
    instance = employee.create(2)
    employee.wait_for(instance["id"], "booting")
    stack.stop_worker()
    rows(
        stack,
        "Job.objects.filter(lease_expires_at__isnull=False).update("
        "lease_expires_at='2000-01-01T00:00Z', created_at='2000-01-01T00:00Z')",
    )

    stack.start_worker()
    rows(stack, "__import__('instances.tasks').tasks.enqueue_due_jobs()")

    employee.wait_for(instance["id"], "running")
    claimed = claims_of(stack, instance["id"])
    assert list(hypervisor.domains()) == [claimed["uuid"]]
    assert employee.console(instance["id"]).count("GPU-SEEN 10de:1e30") == 2


def test_enrolling_what_is_no_host_says_why(stack: Stack) -> None:
    for arguments, text in (
        (("qemu+tcp://127.0.0.1:1/system", "--region", "us-east"), "does not answer"),
        (("qemu+tcp://127.0.0.1:1/system", "--region", "mars"), "'mars' is not known"),
        (("ftp://x", "--region", "us-east"), "is no libvirt address"),
    ):
        with pytest.raises(AssertionError, match=text):
            stack.manage("enrol_host", *arguments)
    assert rows(stack, "Host.objects.count()") == 1
