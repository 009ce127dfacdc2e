"""GET and PUT /gpucloud/instances/{id}/feedback: of a life, there or ended."""

from typing import Any, get_args

import pytest

from instances.api.shapes.feedback import WorkloadWord
from instances.choices import Workload
from instances.models import ApiChange, Instance, InstanceFeedback, Plan
from tests.api.builders import (
    ORDER,
    Customer,
    errors_of,
    make_customer,
    running_instance,
    work,
)
from tests.simulated import SimulatedHypervisor

pytestmark = pytest.mark.django_db
SAID = {
    "workload": "machine_learning",
    "text": "Twice as fast\nas what we had.",
    "would_use_again": True,
}


def path_of(instance_id: int) -> str:
    return f"/gpucloud/instances/{instance_id}/feedback"


def created(customer: Customer) -> int:
    return int(customer.api.post("/linode/instances", ORDER).json()["id"])


def test_what_is_said_is_kept_once_and_changed_by_the_field(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    linode = created(customer)
    nothing = {
        "linode_id": linode,
        "workload": None,
        "text": "",
        "would_use_again": None,
        "updated": None,
    }
    assert customer.api.get(path_of(linode)).json() == nothing
    assert customer.api.put(path_of(linode), {}).json() == nothing
    assert not InstanceFeedback.objects.exists()

    first = customer.api.put(path_of(linode), SAID)

    row = InstanceFeedback.objects.get()
    assert first.status_code == 200
    assert first.json() == {
        "linode_id": linode,
        **SAID,
        "updated": f"{row.updated_at:%Y-%m-%dT%H:%M:%S}",
    }
    assert (row.instance_id, row.written_by) == (linode, "user:carol")
    change = ApiChange.objects.latest("pk")
    assert (change.method, change.status) == ("PUT", 200)
    assert change.path == f"/v4{path_of(linode)}"
    # A client that sends the whole object back changes the one field.
    whole = {**first.json(), "text": ""}
    assert customer.api.put(path_of(linode), whole).json()["text"] == ""
    assert InstanceFeedback.objects.get().workload == "machine_learning"
    assert customer.api.get(path_of(linode)).json()["would_use_again"] is True


def test_it_outlives_its_instance(customer: Customer, shop: dict[str, Plan]) -> None:
    linode = running_instance(customer)
    customer.api.put(path_of(linode), SAID)
    customer.api.delete(f"/linode/instances/{linode}")
    work(SimulatedHypervisor())
    assert Instance.objects.get().is_ended

    assert customer.api.get(path_of(linode)).json()["workload"] == "machine_learning"
    later = customer.api.put(path_of(linode), {"would_use_again": False})

    assert later.json()["would_use_again"] is False
    assert InstanceFeedback.objects.get().instance_id == linode


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"text": "fine"}, ["workload"]),
        ({"workload": "mining"}, ["workload"]),
        ({"workload": None}, ["workload"]),
        ({"workload": ["other"]}, ["workload"]),
        ({"workload": "other", "text": "x" * 1001}, ["text"]),
        ({"workload": "other", "text": "a\x1b[2J"}, ["text"]),
        ({"workload": "other", "text": None}, ["text"]),
        ({"workload": "other", "would_use_again": "yes"}, ["would_use_again"]),
        ({"workload": "other", "would_use_again": 1}, ["would_use_again"]),
        ({"workload": "other", "linode_id": 1, "stars": 5}, ["linode_id", "stars"]),
        (
            {"workload": 1, "text": 1, "would_use_again": 1},
            ["workload", "text", "would_use_again"],
        ),
    ],
)
def test_what_is_wrong_is_named_and_nothing_kept(
    customer: Customer, shop: dict[str, Plan], body: dict[str, Any], wrong: list[str]
) -> None:
    refused = customer.api.put(path_of(created(customer)), body)

    assert refused.status_code == 400
    assert [field for field, _ in errors_of(refused)] == wrong
    assert not InstanceFeedback.objects.exists()


def test_a_token_that_may_read_may_not_write(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    linode = created(customer)
    reader = make_customer(account=customer.account, scopes="linodes:read_only")

    assert reader.api.get(path_of(linode)).status_code == 200
    assert reader.api.put(path_of(linode), SAID).status_code == 401
    assert not InstanceFeedback.objects.exists()


def test_the_document_names_every_workload() -> None:
    assert list(get_args(WorkloadWord)) == Workload.values
