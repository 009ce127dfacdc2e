"""A customer's instances: create, list, get, delete, and nobody else's."""

import base64
import struct
from typing import Any

import pytest
from django.utils import timezone

from instances.actions.launch import LaunchOrder
from instances.choices import Desired, JobKind, Phase
from instances.models import Event, Instance, Job, Plan
from inventory.exceptions import NotClaimable
from inventory.models import CardClaim, NodeClaim
from tests.api.builders import ORDER, ApiClient, Customer, errors_of
from tests.builders import GPU_FLAG, make_image, make_plan

pytestmark = pytest.mark.django_db

_BLOB = struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + bytes(32)
KEY = f"ssh-ed25519 {base64.b64encode(_BLOB).decode()} carol@example.net"
CREDENTIALS = "Must provide valid root_pass, authorized_keys, or authorized_users"
NO_PLAN = "A valid plan type by that ID was not found"
NO_REGION = "region is not valid"


def created(customer: Customer, **fields: Any) -> dict[str, Any]:
    response = customer.api.post("/linode/instances", {**ORDER, **fields})
    assert response.status_code == 200, response.content
    return response.json()


def refused(customer: Customer, body: Any, **headers: str) -> list[Any]:
    """Return the errors of a create, after checking that it left nothing behind."""
    before = Instance.objects.count(), Job.objects.count(), NodeClaim.objects.count()
    response = customer.api.post("/linode/instances", body, **headers)
    after = Instance.objects.count(), Job.objects.count(), NodeClaim.objects.count()
    assert response.status_code == 400, response.content
    assert before == after
    return errors_of(response)


def test_create_answers_with_the_whole_linode(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    body = created(customer, label="trainer", tags=["prod", "blue"])
    instance = Instance.objects.get()
    host_uuid = body.pop("host_uuid")
    assert len(host_uuid) == 40
    assert int(host_uuid, 16)
    assert body == {
        "id": instance.pk,
        "label": "trainer",
        "group": "",
        "tags": ["prod", "blue"],
        "status": "provisioning",
        "type": "g1-gpu-rtx6000-1",
        "region": "us-east",
        "site_type": "core",
        "image": "gpucloud/probe",
        "created": instance.created_at.strftime("%Y-%m-%dT%H:%M:%S"),
        "updated": instance.updated_at.strftime("%Y-%m-%dT%H:%M:%S"),
        "hypervisor": "kvm",
        "specs": {
            "vcpus": 1,
            "memory": 256,
            "disk": 0,
            "transfer": 0,
            "gpus": 1,
            "accelerated_devices": 0,
        },
        "ipv4": [],
        "ipv6": None,
        "interface_generation": "legacy_config",
        "alerts": {
            "cpu": 0,
            "io": 0,
            "network_in": 0,
            "network_out": 0,
            "transfer_quota": 0,
        },
        "backups": {
            "available": False,
            "enabled": False,
            "last_successful": None,
            "schedule": {"day": None, "window": None},
        },
        "capabilities": [],
        "disk_encryption": "disabled",
        "has_user_data": False,
        "lke_cluster_id": None,
        "locks": [],
        "maintenance_policy": "linode/power_off_on",
        "placement_group": None,
        "watchdog_enabled": True,
    }


def test_create_claims_and_enqueues_once(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    made = created(customer)
    instance = Instance.objects.get(pk=made["id"])
    assert instance.account == customer.account
    assert instance.created_by == "user:carol"
    assert made["label"] == f"linode{instance.pk}"
    assert CardClaim.objects.filter(consumer=instance.uuid).count() == 1
    job = Job.objects.get()
    assert (job.kind, job.instance, job.actor) == (
        JobKind.LAUNCH,
        instance,
        "user:carol",
    )


def test_get_and_list_show_the_same(customer: Customer, shop: dict[str, Plan]) -> None:
    made = created(customer)
    assert customer.api.get(f"/linode/instances/{made['id']}").json() == made
    assert customer.api.get("/linode/instances").json() == {
        "data": [made],
        "page": 1,
        "pages": 1,
        "results": 1,
    }


@pytest.mark.parametrize(
    ("phase", "desired", "status"),
    [
        (Phase.PROVISIONING, Desired.RUNNING, "provisioning"),
        (Phase.BOOTING, Desired.RUNNING, "booting"),
        (Phase.RUNNING, Desired.RUNNING, "running"),
        (Phase.SHUTTING_DOWN, Desired.OFF, "shutting_down"),
        (Phase.OFFLINE, Desired.OFF, "offline"),
        (Phase.REBOOTING, Desired.RUNNING, "rebooting"),
        (Phase.REBUILDING, Desired.RUNNING, "rebuilding"),
        (Phase.RUNNING, Desired.DELETED, "deleting"),
        (Phase.OFFLINE, Desired.DELETED, "deleting"),
        (Phase.PROVISIONING, Desired.DELETED, "deleting"),
        (Phase.DELETING, Desired.DELETED, "deleting"),
    ],
)
def test_status(
    customer: Customer,
    shop: dict[str, Plan],
    phase: Phase,
    desired: Desired,
    status: str,
) -> None:
    made = created(customer)
    ready_at = None if phase in (Phase.PROVISIONING, Phase.BOOTING) else timezone.now()
    Instance.objects.update(phase=phase, desired=desired, ready_at=ready_at)
    body = customer.api.get(f"/linode/instances/{made['id']}").json()
    assert body["status"] == status


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.OFFLINE])
@pytest.mark.parametrize(
    ("observed", "status"),
    [
        ("off", "offline"),
        ("shut_down", "offline"),
        ("crashed", "offline"),
        ("absent", "offline"),
        ("cut_off", "offline"),
        ("running", "running"),
        ("paused", "running"),
    ],
)
def test_machine_at_rest_is_as_it_was_observed(
    customer: Customer,
    shop: dict[str, Plan],
    phase: Phase,
    observed: str,
    status: str,
) -> None:
    made = created(customer)
    Instance.objects.update(phase=phase, observed=observed, ready_at=timezone.now())
    body = customer.api.get(f"/linode/instances/{made['id']}").json()
    assert body["status"] == status


@pytest.mark.parametrize("phase", [Phase.DELETED, Phase.FAILED])
def test_an_ended_instance_is_gone(
    customer: Customer, shop: dict[str, Plan], phase: Phase
) -> None:
    made = created(customer)
    Instance.objects.update(phase=phase, ended_at="2026-01-31T12:00:00Z")
    assert customer.api.get(f"/linode/instances/{made['id']}").status_code == 404
    assert customer.api.delete(f"/linode/instances/{made['id']}").status_code == 404
    assert customer.api.get("/linode/instances").json()["results"] == 0


def test_delete(customer: Customer, shop: dict[str, Plan]) -> None:
    path = f"/linode/instances/{created(customer)['id']}"
    response = customer.api.delete(path)
    assert (response.status_code, response.json()) == (200, {})
    assert customer.api.get(path).json()["status"] == "deleting"
    assert list(Job.objects.order_by("pk").values_list("kind", "actor")) == [
        (JobKind.LAUNCH, "user:carol"),
        (JobKind.DELETE, "user:carol"),
    ]


def test_a_second_delete_finds_it_busy(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    path = f"/linode/instances/{created(customer)['id']}"
    customer.api.delete(path)
    again = customer.api.delete(path)
    assert again.status_code == 400
    assert errors_of(again) == [(None, "Linode busy.")]
    assert Job.objects.filter(kind=JobKind.DELETE).count() == 1


def test_another_account_sees_and_changes_nothing(
    customer: Customer, outsider: Customer, shop: dict[str, Plan]
) -> None:
    made = created(customer)
    event = Event.objects.get()
    for method, path in [
        ("GET", f"/linode/instances/{made['id']}"),
        ("DELETE", f"/linode/instances/{made['id']}"),
        ("GET", f"/gpucloud/instances/{made['id']}/console"),
        ("GET", f"/account/events/{event.pk}"),
        ("POST", f"/account/events/{event.pk}/seen"),
    ]:
        response = outsider.api.call(method, path)
        assert response.status_code == 404, path
        assert response.json() == {"errors": [{"reason": "Not found"}]}
    for path in ("/linode/instances", "/account/events"):
        assert outsider.api.get(path).json()["results"] == 0
    assert customer.api.get(f"/linode/instances/{made['id']}").json() == made
    event.refresh_from_db()
    assert not event.seen


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"type": None}, [("type", "type is required")]),
        ({"type": ""}, [("type", "type is required")]),
        ({"region": None}, [("region", "region is required")]),
        ({"type": "g9"}, [("type", NO_PLAN)]),
        ({"type": 5}, [("type", NO_PLAN)]),
        ({"type": ["x"]}, [("type", NO_PLAN)]),
        ({"region": "moon"}, [("region", NO_REGION)]),
        ({"region": {"id": "us-east"}}, [("region", NO_REGION)]),
        ({"type": "g9", "region": "moon"}, [("type", NO_PLAN), ("region", NO_REGION)]),
        ({"type": "g9", "region": "moon", "image": None},
         [("type", NO_PLAN), ("region", NO_REGION)]),
        ({"type": None, "region": "moon", "label": 5, "image": "x/y"},
         [("type", "type is required"), ("region", NO_REGION),
          ("image", "image is not valid"), ("label", "label must be a string")]),
        ({"image": None}, [("image", "You must specify an image. Machines without one "
                                     "cannot be had yet.")]),
        ({"image": "linode/debian12"}, [("image", "image is not valid")]),
        ({"image": 7}, [("image", "image is not valid")]),
        ({"label": "ab"}, [("label", "Label must be 3 to 64 characters: letters, digits, "
                                     "single - _ or . between them")]),
        ({"label": ["abc"]}, [("label", "label must be a string")]),
        ({"tags": "prod"}, [("tags", "tags must be a list of strings")]),
        ({"tags": [1]}, [("tags", "tags must be a list of strings")]),
        ({"tags": ["ab"]}, [("tags", "At most 100 tags of 3 to 50 characters each")]),
        ({"root_pass": 5}, [("root_pass", "root_pass must be a string")]),
        ({"root_pass": "aB3"},
         [("root_pass", "Password must be 7 to 128 characters long")]),
        ({"root_pass": "abcdefgh"},
         [("root_pass", "Password does not meet strength requirement.")]),
        ({"authorized_keys": KEY},
         [("authorized_keys", "authorized_keys must be a list of strings")]),
        ({"authorized_keys": [KEY, "ssh-rsa AAAA"]},
         [("authorized_keys",
           "SSH key 2 is not a public key in OpenSSH's one-line form")]),
        ({"authorized_keys": [f"{KEY}\n{KEY}"]},
         [("authorized_keys",
           "SSH key 1 must be one line of printable characters")]),
        ({"authorized_users": [""]},
         [("authorized_users", "authorized_users must be a list of usernames")]),
        ({"booted": "no"}, [("booted", "booted must be true or false")]),
        ({"metadata": {"user_data": "I2Nsb3Vk"}},
         [("metadata.user_data", "GPU probe does not read user data")]),
        ({"root_password": "x"}, [("root_password", "There is no such field")]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(
    customer: Customer, shop: dict[str, Plan], change: Any, expected: Any
) -> None:
    assert refused(customer, {**ORDER, **change}) == expected


def test_an_empty_create_misses_type_and_region(customer: Customer) -> None:
    expected = [("type", "type is required"), ("region", "region is required")]
    assert refused(customer, {}) == expected
    assert refused(customer, None) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backup_id", 5),
        ("backups_enabled", True),
        ("boot_size", 1024),
        ("disk_encryption", "enabled"),
        ("group", "web"),
        ("interface_generation", "linode"),
        ("interfaces", [{"purpose": "public"}]),
        ("ipv4", ["192.0.2.1"]),
        ("kernel", "linode/grub2"),
        ("maintenance_policy", "linode/migrate"),
        ("network_helper", True),
        ("private_ip", True),
        ("stackscript_data", {"a": "b"}),
        ("stackscript_id", 5),
        ("swap_size", 1024),
    ],
)
def test_what_this_release_lacks_is_refused_by_name(
    customer: Customer, shop: dict[str, Plan], field: str, value: Any
) -> None:
    assert refused(customer, {**ORDER, field: value}) == [
        (field, f"{field} cannot be had yet; leave it out")
    ]


def test_what_asks_for_nothing_is_accepted(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    created(
        customer,
        backup_id=None,
        backups_enabled=False,
        booted=True,
        disk_encryption="disabled",
        firewall_id=None,
        group="",
        interface_generation=None,
        interfaces=[],
        label=None,
        maintenance_policy="linode/power_off_on",
        metadata={"user_data": None},
        network_helper=None,
        placement_group={"id": None},
        private_ip=False,
        stackscript_data={},
        stackscript_id=None,
        swap_size=512,
        tags=None,
        root_pass="correct Horse",
        authorized_keys=[KEY],
        authorized_users=["carol"],
        unknown=None,
    )
    assert Instance.objects.count() == 1


def test_an_image_with_accounts_needs_a_way_in(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    make_image("linode/debian12")
    order = {**ORDER, "image": "linode/debian12"}
    assert refused(customer, order) == [(None, CREDENTIALS)]
    assert refused(customer, {**order, "root_pass": "abcdefgh"}) == [
        ("root_pass", "Password does not meet strength requirement."),
        (None, CREDENTIALS),
    ]
    assert refused(customer, {**order, "authorized_keys": []}) == [(None, CREDENTIALS)]
    for way_in in (
        {"root_pass": "correct Horse"},
        {"authorized_keys": [KEY]},
        {"authorized_users": ["carol"]},
    ):
        created(customer, **{**order, **way_in})


def test_a_label_is_used_once(customer: Customer, shop: dict[str, Plan]) -> None:
    created(customer, label="trainer")
    assert refused(customer, {**ORDER, "label": "trainer"}) == [
        ("label", "Label must be unique among your linodes")
    ]


def test_a_shut_flag_refuses_like_an_unknown_plan(
    outsider: Customer, shop: dict[str, Plan]
) -> None:
    hidden = outsider.api.post("/linode/instances", ORDER)
    unknown = outsider.api.post("/linode/instances", {**ORDER, "type": "g9-nothing"})
    assert hidden.status_code == unknown.status_code == 400
    assert hidden.content == unknown.content
    assert hidden.json() == {"errors": [{"reason": NO_PLAN, "field": "type"}]}
    assert Instance.objects.count() == 0


def test_a_shut_flag_leaves_plans_without_cards(
    outsider: Customer, shop: dict[str, Plan]
) -> None:
    assert created(outsider, type="g6-standard-2")["specs"]["gpus"] == 0


def test_no_capacity_is_400_on_the_region(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    for _ in range(4):
        created(customer)
    assert refused(customer, ORDER) == [
        (
            "region",
            "No GPU capacity is available in us-east for g1-gpu-rtx6000-1 right now.",
        )
    ]
    assert CardClaim.objects.filter(released_at=None).count() == 4


def test_no_capacity_where_there_is_no_host(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    ((field, _),) = refused(customer, {**ORDER, "region": "ap-west"})
    assert field == "region"


def test_a_repeated_key_makes_one_instance(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    answers = [
        customer.api.post("/linode/instances", ORDER, idempotency_key="a-1")
        for _ in range(3)
    ]
    assert [a.status_code for a in answers] == [200, 200, 200]
    assert answers[0].json() == answers[1].json() == answers[2].json()
    assert (Instance.objects.count(), Job.objects.count()) == (1, 1)
    assert CardClaim.objects.count() == 1


def test_a_key_is_for_one_request(customer: Customer, shop: dict[str, Plan]) -> None:
    customer.api.post("/linode/instances", ORDER, idempotency_key="a-1")
    assert refused(customer, {**ORDER, "label": "other"}, idempotency_key="a-1") == [
        (None, "This Idempotency-Key was used for another request. Use a new key.")
    ]


def test_a_key_is_the_accounts_own(
    customer: Customer, outsider: Customer, shop: dict[str, Plan]
) -> None:
    order = {**ORDER, "type": "g6-standard-2"}
    for who in (customer, outsider):
        response = who.api.post("/linode/instances", order, idempotency_key="a-1")
        assert response.status_code == 200
    assert Instance.objects.count() == 2


def test_a_key_whose_instance_is_gone_is_spent(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    customer.api.post("/linode/instances", ORDER, idempotency_key="a-1")
    Instance.objects.update(phase=Phase.DELETED, ended_at="2026-01-31T12:00:00Z")
    assert refused(customer, ORDER, idempotency_key="a-1") == [
        (None, "The Linode that this Idempotency-Key made is gone. Use a new key.")
    ]


@pytest.mark.parametrize("key", ["x" * 201, "a b", "caf\xe9"])
def test_a_malformed_key_is_refused(
    customer: Customer, shop: dict[str, Plan], key: str
) -> None:
    assert refused(customer, ORDER, idempotency_key=key) == [
        ("Idempotency-Key", "Must be 1 to 200 printable ASCII characters")
    ]


def test_a_key_of_200_characters_is_accepted(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    response = customer.api.post("/linode/instances", ORDER, idempotency_key="x" * 200)
    assert response.status_code == 200


def test_a_plan_of_two_cards_holds_two(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    make_plan("g1-gpu-rtx6000-2", cards=2, flag_name=GPU_FLAG)
    assert created(customer, type="g1-gpu-rtx6000-2")["specs"]["gpus"] == 2
    assert CardClaim.objects.count() == 2


def test_creating_needs_a_token(anyone: ApiClient, shop: dict[str, Plan]) -> None:
    assert anyone.post("/linode/instances", ORDER).status_code == 401
    assert Instance.objects.count() == 0


def test_a_claim_that_the_database_refuses_is_400(
    customer: Customer, shop: dict[str, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(order: LaunchOrder) -> Instance:
        raise NotClaimable("card_one_open_claim")

    monkeypatch.setattr("instances.api.views.instances.launch", lost)
    assert refused(customer, ORDER) == [
        (None, "The cards were taken by another request.")
    ]
