"""Firewalls over the API: made, changed, put on Linodes, taken off, in Linode's words."""

from typing import Any

import pytest

from instances.firewall_rules import MAX_PAIRS
from instances.jobs import runner
from instances.models import (
    ApiChange,
    Event,
    Firewall,
    FirewallDevice,
    Instance,
    Job,
    Plan,
)
from tests.api.builders import ORDER, Customer, errors_of, make_customer
from tests.api.test_lists import make_instance
from tests.simulated import SimulatedHypervisor

pytestmark = pytest.mark.django_db
URL = "/networking/firewalls"
SSH = {
    "ports": "22",
    "protocol": "TCP",
    "addresses": {"ipv4": ["198.51.100.1/32"]},
    "action": "ACCEPT",
    "label": "accept-ssh",
}
RULES = {"inbound": [SSH], "inbound_policy": "DROP", "outbound_policy": "ACCEPT"}


def created(customer: Customer, label: str = "web", **fields: Any) -> dict[str, Any]:
    body = {"label": label, "rules": RULES, **fields}
    answer = customer.api.post(URL, body)
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def refused(
    customer: Customer, body: Any, path: str = URL, method: str = "POST"
) -> Any:
    rows = _rows()
    answer = customer.api.call(method, path, body)
    assert answer.status_code == 400, answer.content
    assert _rows() == rows
    return errors_of(answer)


def _rows() -> list[Any]:
    models = (Firewall, FirewallDevice, Event, Job)
    return [list(model.objects.order_by("pk").values()) for model in models]


def events() -> list[tuple[Any, ...]]:
    fields = (
        "action",
        "entity_type",
        "entity_label",
        "secondary_entity_id",
        "username",
    )
    return list(Event.objects.order_by("pk").values_list(*fields))


def test_a_firewall_is_shown_as_it_was_made(customer: Customer) -> None:
    linode = make_instance(customer, "alpha")
    body = created(customer, tags=["prod"], devices={"linodes": [linode.pk]})

    row = Firewall.objects.get()
    assert {key: body[key] for key in ("id", "label", "status", "tags")} == {
        "id": row.pk, "label": "web", "status": "enabled", "tags": ["prod"],
    }  # fmt: skip
    assert body["rules"] == {
        **RULES, "outbound": [], "version": 1,
        "fingerprint": body["rules"]["fingerprint"],
    }  # fmt: skip
    # PostgreSQL keeps another order; linode-cli's own tests compare the text.
    assert list(body["rules"]["inbound"][0]) == list(SSH)
    assert body["entities"] == [
        {
            "id": linode.pk, "label": "alpha", "type": "linode", "parent_entity": None,
            "url": f"/v4/linode/instances/{linode.pk}",
        }
    ]  # fmt: skip
    for path in (f"{URL}/{row.pk}", f"/linode/instances/{linode.pk}/firewalls"):
        shown = customer.api.get(path).json()
        assert shown.get("data", [shown]) == [body]
    assert customer.api.get(URL).json()["data"] == [body]
    assert customer.api.get(f"{URL}/{row.pk}/rules").json() == body["rules"]
    assert customer.api.get("/tags").json()["data"] == [{"label": "prod"}]
    assert events() == [("firewall_create", "firewall", "web", None, "carol")]
    assert ApiChange.objects.get().object_id == str(row.pk)


def test_default_firewalls_are_none(customer: Customer) -> None:
    assert customer.api.get(f"{URL}/settings").json() == {
        "default_firewall_ids": dict.fromkeys(
            ("linode", "nodebalancer", "public_interface", "vpc_interface")
        )
    }


def rule(**fields: Any) -> dict[str, Any]:
    return {**SSH, **fields}


NO_PORTS = {name: value for name, value in SSH.items() if name != "ports"}
MANY = [f"10.0.{number // 256}.{number % 256}/32" for number in range(256)]


@pytest.mark.parametrize(
    ("given", "field", "reason"),
    [
        (rule(action="REJECT"), "action", "action must be ACCEPT or DROP"),
        (NO_PORTS | {"protocol": "SCTP"}, "protocol", "protocol must be TCP, UDP or ICMP"),
        (NO_PORTS | {"protocol": "IPENCAP"}, "protocol",
         "IPENCAP cannot be had yet; leave the rule out"),
        (rule(protocol="ICMP"), "ports", "ports are for TCP and UDP alone"),
        (rule(ports="022"), "ports", 'ports must be like "22, 80, 8000-9000"'),
        (rule(ports=22), "ports", 'ports must be like "22, 80, 8000-9000"'),
        (rule(ports="22,  80"), "ports", 'ports must be like "22, 80, 8000-9000"'),
        (rule(ports="0"), "ports", 'ports must be like "22, 80, 8000-9000"'),
        (rule(ports="65536"), "ports", "Ports must be from 1 to 65535"),
        (rule(ports="90-80"), "ports", "A range of ports must end above its start"),
        (rule(ports=",".join(map(str, range(1, 17)))), "ports",
         "At most 15 ports; a range counts as two"),
        (rule(ports="1-2,4-5,7-8,10-11,13-14,16-17,19-20,22-23"), "ports",
         "At most 15 ports; a range counts as two"),
        (rule(addresses={}), "addresses",
         "Name at least one address; 0.0.0.0/0 and ::/0 are all"),
        (rule(addresses=["10.0.0.0/8"]), "addresses",
         "addresses must be an object with ipv4 and ipv6"),
        (rule(addresses={"ipv5": []}), "addresses",
         "addresses must be an object with ipv4 and ipv6"),
        (rule(addresses={"ipv4": ["10.0.0.1"]}), "addresses.ipv4",
         "ipv4 must be a list of networks like 203.0.113.0/24"),
        (rule(addresses={"ipv4": ["::/0"]}), "addresses.ipv4",
         "ipv4 must be a list of networks like 203.0.113.0/24"),
        (rule(addresses={"ipv4": ["10.0.0.0/255.0.0.0"]}), "addresses.ipv4",
         "ipv4 must be a list of networks like 203.0.113.0/24"),
        (rule(addresses={"ipv6": ["fe80::1%eth0/64"]}), "addresses.ipv6",
         "ipv6 must be a list of networks like 2001:db8::/32"),
        (rule(addresses={"ipv4": MANY}), "addresses", "At most 255 addresses"),
        (rule(label="ab"), "label", "label must be 3 to 32 printable characters"),
        (rule(description="x" * 101), "description",
         "description must be 1 to 100 printable characters"),
        (rule(colour="red"), "colour", "There is no such field"),
    ],
)  # fmt: skip
def test_a_bad_rule_is_refused(
    customer: Customer, given: Any, field: str, reason: str
) -> None:
    for way in ("inbound", "outbound"):
        rules = {"inbound_policy": "DROP", "outbound_policy": "DROP", way: [SSH, given]}
        assert refused(customer, {"label": "web", "rules": rules}) == [
            (f"rules.{way}[1].{field}", reason)
        ]


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, [("label", "label is required"), ("rules", "rules is required")]),
        ({"label": "web", "rules": {}},
         [("rules.inbound_policy", "inbound_policy is required"),
          ("rules.outbound_policy", "outbound_policy is required")]),
        ({"label": "web", "rules": {**RULES, "inbound_policy": "REJECT"}},
         [("rules.inbound_policy", "inbound_policy must be ACCEPT or DROP")]),
        ({"label": "web", "rules": {**RULES, "inbound": [SSH] * 13, "outbound": [SSH] * 13}},
         [("rules.inbound", "At most 25 rules, inbound and outbound")]),
        ({"label": "web",
          "rules": {**RULES, "inbound": [rule(ports="1,3,5", addresses={"ipv4": MANY[:255]})]}},
         [("rules.inbound", "These rules are 765 pairs of a port and an address; at most "
           f"{MAX_PAIRS}. Use ranges and larger networks")]),
        ({"label": "web", "rules": {**RULES, "inbound": "all"}},
         [("rules.inbound", "inbound must be a list of rules")]),
        ({"label": "a b", "rules": RULES},
         [("label", "Label must be 3 to 32 characters: letters, digits, single - _ or . "
           "between them")]),
        ({"label": "x" * 33, "rules": RULES},
         [("label", "Label must be 3 to 32 characters: letters, digits, single - _ or . "
           "between them")]),
        ({"label": "taken", "rules": RULES},
         [("label", "Label must be unique among your Cloud Firewalls")]),
        ({"label": "web", "rules": RULES, "status": "deleted", "tags": [5], "colour": 1},
         [("colour", "There is no such field"),
          ("status", "status must be enabled or disabled"),
          ("tags", "tags must be a list of strings")]),
        ({"label": "web", "rules": RULES,
          "devices": {"linodes": ["1"], "nodebalancers": [5], "colours": []}},
         [("devices.linodes", "linodes must be a list of ids"),
          ("devices.nodebalancers", "nodebalancers cannot be had yet; leave it out"),
          ("devices.colours", "There is no such field")]),
        ({"label": "web", "rules": RULES, "devices": {"linodes": [2**62]}},
         [("devices.linodes", f"Linode {2**62} is not one of yours")]),
    ],
)  # fmt: skip
def test_a_bad_firewall_is_refused(customer: Customer, body: Any, errors: Any) -> None:
    created(customer, "taken")
    assert refused(customer, body) == errors


def test_what_asks_for_nothing_is_accepted(customer: Customer) -> None:
    made = created(
        customer,
        devices={"linodes": [], "nodebalancers": [], "linode_interfaces": []},
        tags=None,
        status=None,
        rules={
            **RULES,
            "inbound": [rule(ports="", description=None)],
            "outbound": None,
        },
    )
    assert made["rules"]["inbound"] == [rule(ports="")]


def test_labels_are_unique_in_an_account_alone(
    customer: Customer, outsider: Customer
) -> None:
    made = created(customer)
    created(outsider)
    created(customer, "other")
    assert refused(customer, {"label": "other"}, f"{URL}/{made['id']}", "PUT") == [
        ("label", "Label must be unique among your Cloud Firewalls")
    ]


def test_rules_are_replaced_where_they_are_given(customer: Customer) -> None:
    path = f"{URL}/{created(customer)['id']}/rules"
    before = customer.api.get(path).json()
    other = {**SSH, "ports": "80, 443"}

    after = customer.api.put(path, {"outbound": [other]}).json()

    assert (after["inbound"], after["outbound"]) == ([SSH], [other])
    assert after["version"] == 2
    assert after["fingerprint"] != before["fingerprint"]
    again = customer.api.put(path, after)
    assert again.json() == after, "a whole document that is sent back changes nothing"
    final = customer.api.put(
        path, {"inbound": [], "inbound_policy": "ACCEPT", "outbound_policy": "DROP"}
    ).json()
    assert final["version"] == 3
    assert (final["inbound"], final["outbound"]) == ([], [other])
    assert refused(customer, {"inbound": [rule(action=5)]}, path, "PUT") == [
        ("inbound[0].action", "action must be ACCEPT or DROP")
    ]
    assert [event[0] for event in events()] == [
        "firewall_create", "firewall_rules_update", "firewall_rules_update",
    ]  # fmt: skip


def test_a_firewall_is_renamed_disabled_and_deleted(customer: Customer) -> None:
    linode = make_instance(customer, "alpha")
    made = created(customer, devices={"linodes": [linode.pk]})
    path = f"{URL}/{made['id']}"

    # As linode_api4's save() does: the whole object.
    body = customer.api.put(path, {**made, "label": "omega", "tags": ["x-1"]}).json()
    assert (body["label"], body["tags"], body["status"]) == (
        "omega",
        ["x-1"],
        "enabled",
    )
    off = customer.api.put(path, {"status": "disabled"}).json()
    assert off["status"] == "disabled"
    assert refused(customer, {"entities": []}, path, "PUT") == [
        ("entities", "entities cannot be changed")
    ]
    assert customer.api.delete("/tags/x-1").status_code == 200
    assert customer.api.get(path).json()["tags"] == []
    assert customer.api.delete(path).json() == {}

    assert customer.api.get(path).status_code == 404
    assert customer.api.delete(path).status_code == 404
    assert not FirewallDevice.objects.exists()
    assert [event[:3] for event in events()] == [
        ("firewall_create", "firewall", "web"),
        ("firewall_update", "firewall", "omega"),
        ("firewall_disable", "firewall", "omega"),
        ("firewall_delete", "firewall", "omega"),
    ]
    linode.refresh_from_db()
    # Made on it, disabled, deleted.
    assert linode.filter_wanted == 3


def test_linodes_are_put_on_and_taken_off(customer: Customer) -> None:
    alpha, beta = (make_instance(customer, label) for label in ("alpha", "beta"))
    path = f"{URL}/{created(customer)['id']}/devices"

    device = customer.api.post(path, {"id": alpha.pk, "type": "linode"}).json()

    assert device["entity"]["id"] == alpha.pk
    assert customer.api.get(f"{path}/{device['id']}").json() == device
    customer.api.post(path, {"id": beta.pk, "type": "linode"})
    listed = customer.api.get(path, x_filter='{"+order_by": "id", "+order": "desc"}')
    assert [row["entity"]["label"] for row in listed.json()["data"]] == [
        "beta",
        "alpha",
    ]
    taken = f"Linode {alpha.pk} is on a firewall already; take it off that first"
    assert refused(customer, {"id": alpha.pk, "type": "linode"}, path) == [
        ("id", taken)
    ]
    assert refused(customer, {"id": "1", "type": "volume", "x": 1}, path) == [
        ("x", "There is no such field"),
        ("id", "id must be a Linode's id"),
        ("type", "type must be linode"),
    ]
    assert customer.api.delete(f"{path}/{device['id']}").json() == {}
    assert customer.api.delete(f"{path}/{device['id']}").status_code == 404
    assert [event[0::3] for event in events()] == [
        ("firewall_create", None),
        ("firewall_device_add", alpha.pk),
        ("firewall_device_add", beta.pk),
        ("firewall_device_remove", alpha.pk),
    ]
    shown = customer.api.get("/account/events").json()["data"][0]
    assert shown["entity"]["type"] == "firewall"
    assert shown["entity"]["url"] == path.removesuffix("/devices").replace(
        "/n", "/v4/n", 1
    )
    assert shown["secondary_entity"] == {
        "id": alpha.pk, "label": "alpha", "type": "linode",
        "url": f"/v4/linode/instances/{alpha.pk}",
    }  # fmt: skip


def test_events_can_be_had_by_what_they_are_about(customer: Customer) -> None:
    created(customer)
    Event.objects.create(
        account=customer.account, action="linode_boot", status="finished",
        entity_id=1, entity_label="box", username="carol",
    )  # fmt: skip

    def actions(wanted: str) -> list[str]:
        listed = customer.api.get("/account/events", x_filter=wanted).json()["data"]
        return [event["action"] for event in listed]

    assert actions('{"entity.type": "firewall"}') == ["firewall_create"]
    assert actions('{"entity.type": "linode"}') == ["linode_boot"]


def test_a_linode_is_made_on_a_firewall(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    made = created(customer)
    answer = customer.api.post(
        "/linode/instances", {**ORDER, "firewall_id": made["id"]}
    )
    linode_id = answer.json()["id"]

    listed = customer.api.get(f"/linode/instances/{linode_id}/firewalls").json()["data"]
    assert [firewall["id"] for firewall in listed] == [made["id"]]
    host = SimulatedHypervisor()
    customer.api.delete(f"/linode/instances/{linode_id}")
    for job in Job.objects.filter(card=None).order_by("pk"):
        runner.run(job.pk, lambda uri: host)
    assert Instance.objects.get(pk=linode_id).phase in ("deleted", "failed")
    assert customer.api.get(f"{URL}/{made['id']}").json()["entities"] == []


def test_a_create_names_a_firewall_that_is_not_there(
    customer: Customer, outsider: Customer, shop: dict[str, Plan]
) -> None:
    theirs = created(outsider)["id"]
    unknown = ("firewall_id", "A valid Firewall by that ID was not found")
    for firewall_id in (theirs, 2**40):
        body = {**ORDER, "firewall_id": firewall_id}
        assert refused(customer, body, "/linode/instances") == [unknown]
    bad = {
        "firewall_id": theirs,
        "region": "mars",
        "type": "none",
        "image": "none/at-all",
    }
    assert refused(customer, bad, "/linode/instances") == [
        ("type", "A valid plan type by that ID was not found"),
        ("region", "region is not valid"),
        ("image", "image is not valid"),
        unknown,
    ]
    assert refused(customer, {**ORDER, "firewall_id": "7"}, "/linode/instances") == [
        ("firewall_id", "firewall_id must be a firewall's id")
    ]
    assert not Instance.objects.exists()


def test_nobody_elses_linode_or_device_is_reached(
    customer: Customer, outsider: Customer
) -> None:
    theirs = make_instance(outsider, "gamma")
    foreign = created(outsider, devices={"linodes": [theirs.pk]})
    device = FirewallDevice.objects.get()
    mine = f"{URL}/{created(customer)['id']}/devices"

    assert refused(customer, {"id": theirs.pk, "type": "linode"}, mine) == [
        ("id", f"Linode {theirs.pk} is not one of yours")
    ]
    for path in (f"{mine}/{device.pk}", f"{URL}/{foreign['id']}/devices/{device.pk}"):
        assert customer.api.get(path).status_code == 404
        assert customer.api.delete(path).status_code == 404
    assert FirewallDevice.objects.get() == device


def test_scopes_are_those_of_firewalls() -> None:
    reader = make_customer(scopes="firewall:read_only")
    assert reader.api.get(URL).status_code == 200
    assert reader.api.post(URL, {"label": "web", "rules": RULES}).status_code == 401
    linodes = make_customer(scopes="linodes:read_write")
    assert linodes.api.get(URL).status_code == 401
    assert created(make_customer(scopes="firewall:read_write"))["label"] == "web"


def test_a_list_costs_the_same_however_long(
    customer: Customer, django_assert_num_queries: Any
) -> None:
    for number in range(2):
        created(customer, f"fw-{number}", devices={
            "linodes": [make_instance(customer, f"box-{number}-{i}").pk for i in range(2)]
        })  # fmt: skip
        with django_assert_num_queries(4):
            assert customer.api.get(URL).json()["results"] == number + 1
