"""GET /gpucloud/instances/{id}/gpus and /topology: as the domain document has it."""

from typing import Any

import pytest
from django.db import transaction
from lxml import etree

from instances.domain_xml import build_domain
from instances.models import Instance, Plan
from instances.release import release_all
from instances.selectors import spec_of
from inventory.hypervisor.xml import parse_domain
from inventory.ledger import Actor, refresh_shape
from inventory.models import Card, Host
from tests.api.builders import ORDER, Customer, make_customer
from tests.builders import GPU_FLAG, make_card, make_host, make_plan

pytestmark = pytest.mark.django_db


def created(customer: Customer, **fields: Any) -> Instance:
    made = customer.api.post("/linode/instances", {**ORDER, **fields})
    assert made.status_code == 200, made.content
    return Instance.objects.select_related("plan", "image", "account").get(
        pk=made.json()["id"]
    )


def asked(customer: Customer, instance: Instance, what: str) -> Any:
    return customer.api.get(f"/gpucloud/instances/{instance.pk}/{what}").json()


@pytest.fixture
def plan3(shop: dict[str, Plan]) -> Plan:
    """Give a plan that fits on both nodes of the shop's host together only."""
    return make_plan("three", cards=3, vcpus=3, memory_mib=768, flag_name=GPU_FLAG)


def test_one_card_is_on_the_guests_one_node(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    instance = created(customer)
    gpus, topology = (asked(customer, instance, what) for what in ("gpus", "topology"))

    (card,) = Card.objects.filter(claims__consumer=instance.uuid)
    (gpu,) = gpus["data"]
    assert gpus == {"data": [gpu], "page": 1, "pages": 1, "results": 1}
    assert gpu == {
        "id": gpu["id"],
        "model": "rtx6000",
        "label": "Quadro rtx6000",
        "memory_mib": card.gpu_model.memory_mib,
        "pci_address": "0000:01:00.0",
        "pci_functions": ["0000:01:00.0"],
        "node": 0,
        "host_node": card.numa_node.number,
        "reported": None,
    }
    spec = spec_of(instance)
    assert spec is not None
    assert topology == {
        "linode_id": instance.pk,
        "vcpus": instance.plan.vcpus,
        "memory_mib": instance.plan.memory_mib,
        "nodes": [
            {
                "node": 0,
                "host_node": card.numa_node.number,
                "memory_mib": instance.plan.memory_mib,
                "hugepage_kib": 0,
                "pins": [
                    {"vcpu": vcpu, "host_cpu": cpu}
                    for vcpu, cpu in spec.vcpu_pins.items()
                ],
                "gpus": [{"id": gpu["id"], "pci_address": "0000:01:00.0"}],
            }
        ],
    }


def buses_in(document: str) -> dict[str, tuple[int, int | None]]:
    """Return host address -> (bus as firmware numbers it, guest node), from the document.

    Below each root bus the firmware gives out numbers port by port.
    """
    root = etree.fromstring(document)
    controllers: dict[int, Any] = {
        int(each.get("index", "")): each
        for each in root.findall("devices/controller[@type='pci']")
    }
    roots: dict[int, tuple[int, int | None]] = {0: (0, None)}
    buses: dict[int, tuple[int, int | None]] = {}
    behind: dict[int, int] = {}
    for index, each in sorted(controllers.items()):
        if each.get("model") == "pcie-expander-bus":
            number = int(each.find("target").get("busNr"))
            roots[index] = (number, int(each.findtext("target/node")))
        elif each.get("model") == "pcie-root-port":
            address = each.find("address")
            parent = 0 if address is None else int(address.get("bus"), 16)
            behind[parent] = behind.get(parent, 0) + 1
            number, node = roots[parent]
            buses[index] = (number + behind[parent], node)
    found = {}
    for each in root.findall("devices/hostdev"):
        source: Any = each.find("source/address")
        guest: Any = each.find("address")
        parts = [int(source.get(n), 16) for n in ("domain", "bus", "slot", "function")]
        host = "{:04x}:{:02x}:{:02x}.{:x}".format(*parts)
        found[host] = buses[int(guest.get("bus"), 16)]
    return found


def test_split_guest_is_told_what_its_document_says(
    customer: Customer, plan3: Plan
) -> None:
    instance = created(customer, type=plan3.slug)

    gpus = asked(customer, instance, "gpus")["data"]
    topology = asked(customer, instance, "topology")

    spec = spec_of(instance)
    assert spec is not None
    document = build_domain(spec)
    live, buses = parse_domain(document), buses_in(document)
    assert len({gpu["id"] for gpu in gpus}) == 3
    assert [(gpu["pci_address"], gpu["node"]) for gpu in gpus] == [
        (f"0000:{bus:02x}:00.0", node)
        for bus, node in (buses[str(each)] for each in live.hostdevs)
    ]
    assert [gpu["pci_address"] for gpu in gpus] == [
        "0000:cf:00.0",
        "0000:d0:00.0",
        "0000:e7:00.0",
    ]
    nodes = topology["nodes"]
    assert {n["node"]: (n["host_node"], n["memory_mib"]) for n in nodes} == live.cells
    pins = {p["vcpu"]: (p["host_cpu"],) for n in nodes for p in n["pins"]}
    assert pins == live.vcpu_pins
    assert (topology["vcpus"], topology["memory_mib"]) == (live.vcpus, live.memory_mib)
    assert [[gpu["id"] for gpu in n["gpus"]] for n in nodes] == [
        [gpu["id"] for gpu in gpus if gpu["node"] == n["node"]] for n in nodes
    ]


def test_all_functions_of_a_card_are_told(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    Host.objects.update(policy="draining")
    host = make_host(cards_per_node=(0,))
    make_card(host.nodes.get(), "0000:c1:00", functions=("10de:1e30", "10de:10f7"))
    with transaction.atomic():
        refresh_shape(host)
    (gpu,) = asked(customer, created(customer), "gpus")["data"]

    assert gpu["pci_functions"] == ["0000:01:00.0", "0000:01:00.1"]


def test_the_host_is_not_betrayed(customer: Customer, plan3: Plan) -> None:
    instance = created(customer, type=plan3.slug)
    answers = [asked(customer, instance, what) for what in ("gpus", "topology")]

    for card in Card.objects.filter(claims__consumer=instance.uuid):
        host = card.host
        for secret in (
            *(card.identity, card.slot_path, host.name, host.libvirt_uri),
            *(str(host.host_uuid), str(instance.uuid)),
        ):
            assert secret not in str(answers), secret


def test_a_card_keeps_its_id_for_an_account_alone(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    instance = created(customer)
    (first,) = asked(customer, instance, "gpus")["data"]
    friend = make_customer("friend", account=customer.account)
    stranger = make_customer("stranger")

    (again,) = asked(friend, instance, "gpus")["data"]
    Instance.objects.filter(pk=instance.pk).update(account=stranger.account)
    (other,) = asked(stranger, instance, "gpus")["data"]

    assert again == first
    assert other["id"] != first["id"]


def test_what_was_released_is_told_no_more(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    instance = created(customer)
    with transaction.atomic():
        release_all(instance.uuid, Actor("job:1", "test"))

    assert asked(customer, instance, "gpus")["data"] == []
    assert asked(customer, instance, "topology") == {
        "linode_id": instance.pk,
        "vcpus": 0,
        "memory_mib": 0,
        "nodes": [],
    }


def test_a_machine_without_cards_has_a_topology(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    instance = created(customer, type="g6-standard-2")

    assert asked(customer, instance, "gpus")["results"] == 0
    (node,) = asked(customer, instance, "topology")["nodes"]
    assert (node["gpus"], len(node["pins"])) == ([], instance.plan.vcpus)


@pytest.mark.parametrize(("what", "queries"), [("gpus", 6), ("topology", 5)])
def test_query_count_does_not_depend_on_the_number_of_cards(
    customer: Customer,
    plan3: Plan,
    what: str,
    queries: int,
    django_assert_num_queries: Any,
) -> None:
    for kind in (ORDER["type"], plan3.slug):
        make_host(region=Host.objects.all()[0].region)
        instance = created(customer, type=kind)
        with django_assert_num_queries(queries):
            assert asked(customer, instance, what)


def test_gpus_are_filtered_and_need_the_scope(customer: Customer, plan3: Plan) -> None:
    instance = created(customer, type=plan3.slug)
    path = f"/gpucloud/instances/{instance.pk}/gpus"

    on_node = customer.api.get(path, x_filter='{"node": 1}').json()["data"]
    assert [gpu["pci_address"] for gpu in on_node] == ["0000:e7:00.0"]
    assert customer.api.get(path, x_filter='{"label": "x"}').status_code == 400
    small = make_customer(scopes="events:read_only", account=customer.account)
    for what in ("gpus", "topology"):
        refused = small.api.get(f"/gpucloud/instances/{instance.pk}/{what}")
        assert refused.status_code == 401
        assert refused["X-Accepted-OAuth-Scopes"] == "linodes:read_only"
