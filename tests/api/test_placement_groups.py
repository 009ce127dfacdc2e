"""Placement groups over the API, in Linode's words."""

from typing import Any

import pytest

from instances.models import Event, Instance, PlacementGroup, PlacementMember, Plan
from tests.api.builders import ORDER, Customer, errors_of, make_customer, work
from tests.builders import make_host, make_region
from tests.simulated import SimulatedHypervisor

pytestmark = pytest.mark.django_db
URL = "/placement/groups"
STRICT = {
    "label": "web",
    "region": "us-east",
    "placement_group_type": "anti_affinity:local",
    "placement_group_policy": "strict",
}
FLEXIBLE = {**STRICT, "label": "loose", "placement_group_policy": "flexible"}


def created(
    customer: Customer, body: dict[str, Any] = STRICT, path: str = URL
) -> dict[str, Any]:
    answer = customer.api.post(path, body)
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def linode(customer: Customer, group: Any = None) -> dict[str, Any]:
    """Create a Linode; group: what its placement_group is to be."""
    return created(customer, {**ORDER, "placement_group": group}, "/linode/instances")


def refused(
    customer: Customer, body: Any, path: str = URL, method: str = "POST"
) -> list[tuple[str | None, str]]:
    rows = _rows()
    answer = customer.api.call(method, path, body)
    assert answer.status_code == 400, answer.content
    assert _rows() == rows
    return errors_of(answer)


def _rows() -> list[Any]:
    models = (PlacementGroup, PlacementMember, Instance, Event)
    return [list(model.objects.order_by("pk").values()) for model in models]


def told() -> list[tuple[str, str, int | None, str]]:
    fields = ("action", "entity_label", "secondary_entity_id", "username")
    rows = Event.objects.filter(entity_type="placement_group").order_by("pk")
    return list(rows.values_list(*fields))


def test_a_group_lives_and_dies(customer: Customer, shop: dict[str, Plan]) -> None:
    made = created(customer)
    path = f"{URL}/{made['id']}"
    assert made == {
        **STRICT, "id": made["id"], "is_compliant": True, "members": [],
        "migrations": None,
    }  # fmt: skip

    first = linode(customer, {"id": made["id"], "compliant_only": False})

    assert first["placement_group"] == {
        "id": made["id"],
        "label": "web",
        "placement_group_type": "anti_affinity:local",
        "placement_group_policy": "strict",
        "migrating_to": None,
    }
    shown = customer.api.get(path).json()
    assert shown["members"] == [{"linode_id": first["id"], "is_compliant": True}]
    assert customer.api.get(URL).json()["data"] == [shown]
    assert customer.api.get("/linode/instances").json()["data"] == [
        {**first, "status": "provisioning"}
    ]
    # As linode_api4's save() does: the whole object.
    renamed = customer.api.put(path, {**shown, "label": "db.1"}).json()
    assert renamed == {**shown, "label": "db.1"}
    assert refused(customer, {"placement_group_policy": "flexible"}, path, "PUT") == [
        ("placement_group_policy", "placement_group_policy cannot be changed")
    ]
    ((field, reason),) = refused(customer, None, path, "DELETE")
    assert (field, reason.split(".")[0]) == (None, "This placement group has Linodes")
    host = SimulatedHypervisor()
    customer.api.delete(f"/linode/instances/{first['id']}")
    work(host)
    assert customer.api.get(path).json()["members"] == []
    assert customer.api.delete(path).json() == {}
    assert customer.api.get(path).status_code == 404
    assert told() == [
        ("placement_group_create", "web", None, "carol"),
        ("placement_group_assign", "web", first["id"], "carol"),
        ("placement_group_update", "db.1", None, "carol"),
        ("placement_group_delete", "db.1", None, "carol"),
    ]
    event = next(
        event
        for event in customer.api.get("/account/events").json()["data"]
        if event["action"] == "placement_group_assign"
    )
    assert event["entity"] == {
        "id": made["id"], "label": "web", "type": "placement_group",
        "url": f"/v4/placement/groups/{made['id']}",
    }  # fmt: skip
    assert event["secondary_entity"]["id"] == first["id"]


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, [(name, f"{name} is required") for name in STRICT]),
        ({**STRICT, "colour": 1, "label": 5}, [
            ("colour", "There is no such field"), ("label", "label must be a string"),
        ]),
        ({**STRICT, "label": "-web", "region": "mars"}, [
            ("region", "region is not valid"),
            ("label", "Label must be 1 to 64 letters, digits, - _ or . and begin and end "
             "with a letter or digit"),
        ]),
        ({**STRICT, "label": "x" * 65}, [
            ("label", "Label must be 1 to 64 letters, digits, - _ or . and begin and end "
             "with a letter or digit"),
        ]),
        ({**STRICT, "label": "taken"},
         [("label", "Label must be unique among your placement groups")]),
        ({**STRICT, "region": ["us-east"], "placement_group_type": "affinity:local",
          "placement_group_policy": []}, [
            ("region", "region is not valid"),
            ("placement_group_type",
             "affinity:local cannot be had yet; take anti_affinity:local"),
            ("placement_group_policy", "placement_group_policy must be strict or flexible"),
        ]),
        ({**STRICT, "placement_group_type": 5},
         [("placement_group_type", "placement_group_type must be anti_affinity:local")]),
    ],
)  # fmt: skip
def test_a_bad_group_is_refused(
    customer: Customer, shop: dict[str, Plan], body: Any, errors: Any
) -> None:
    created(customer, {**STRICT, "label": "taken"})
    assert refused(customer, body) == errors


def test_labels_are_unique_in_an_account_alone(
    customer: Customer, outsider: Customer, shop: dict[str, Plan], settings: Any
) -> None:
    made = created(customer)
    created(outsider)
    created(customer, FLEXIBLE)
    assert refused(customer, {"label": "loose"}, f"{URL}/{made['id']}", "PUT") == [
        ("label", "Label must be unique among your placement groups")
    ]
    settings.PLACEMENT_GROUPS_MAX = 2
    ((field, reason),) = refused(customer, {**STRICT, "label": "third"})
    assert field is None
    assert reason.startswith("Account Limit reached.")


def test_linodes_are_assigned_and_unassigned(
    customer: Customer, outsider: Customer, shop: dict[str, Plan]
) -> None:
    """All on the shop's one host with cards."""
    strict, flexible = created(customer), created(customer, FLEXIBLE)
    one, two = (linode(customer)["id"] for _ in range(2))
    into, out = (f"{URL}/{strict['id']}/{verb}" for verb in ("assign", "unassign"))

    answer = created(customer, {"linodes": [one, one]}, into)

    assert answer["members"] == [{"linode_id": one, "is_compliant": True}]
    beside = (
        f"Linode {two} is on the same host as another Linode of placement group web"
    )
    assert refused(customer, {"linodes": [two]}, into) == [("linodes", beside)]
    theirs = created(outsider, {**ORDER, "type": "g6-standard-2"}, "/linode/instances")
    for body, errors in (
        ({}, [("linodes", "linodes must be a list of ids, one at least")]),
        ({"linodes": ["1"]}, [("linodes", "linodes must be a list of ids, one at least")]),
        ({"linodes": [two], "compliant_only": "no", "x": 1},
         [("x", "There is no such field"),
          ("compliant_only", "compliant_only must be true or false")]),
        ({"linodes": [theirs["id"], one, 2**62]},
         [("linodes", f"Linode {one} is in placement group web already"),
          ("linodes", f"Linode {theirs['id']} is not one of yours"),
          ("linodes", f"Linode {2**62} is not one of yours")]),
    ):  # fmt: skip
        assert refused(customer, body, into) == errors
    assert refused(customer, {"linodes": [two], "compliant_only": True}, out) == [
        ("compliant_only", "There is no such field")
    ]
    assert refused(customer, {"linodes": [two]}, out) == [
        ("linodes", f"Linode {two} is not in this placement group")
    ]
    assert created(customer, {"linodes": [one]}, out)["members"] == []
    loose = created(customer, {"linodes": [one, two]}, f"{URL}/{flexible['id']}/assign")
    assert loose["is_compliant"] is False
    assert [m["is_compliant"] for m in loose["members"]] == [True, False]
    customer.api.delete(f"/linode/instances/{one}")
    created(customer, {"linodes": [one]}, f"{URL}/{flexible['id']}/unassign")
    assert refused(customer, {"linodes": [one]}, into) == [
        ("linodes", f"Linode {one} is being deleted")
    ]
    assert [event[0] for event in told()][2:] == [
        *("placement_group_assign", "placement_group_unassign"),
        *("placement_group_assign", "placement_group_assign"),
        "placement_group_unassign",
    ]


def test_a_create_names_a_group_that_it_cannot_have(
    customer: Customer, outsider: Customer, shop: dict[str, Plan]
) -> None:
    theirs = created(outsider)["id"]
    make_host(region=make_region("ap-west"))
    west = created(customer, {**STRICT, "region": "ap-west"})["id"]
    unknown = "A valid placement group by that ID was not found"
    for given, field, reason in (
        ({"id": theirs}, "placement_group.id", unknown),
        ({"id": 2**40}, "placement_group.id", unknown),
        ({"id": west}, "placement_group.id", "Placement group web is in another region"),
        ({"id": "7"}, "placement_group.id", "id must be a placement group's id"),
        ({"compliant_only": True}, "placement_group.id", "id is required"),
        ({"id": west, "compliant_only": 1}, "placement_group.compliant_only",
         "compliant_only must be true or false"),
        ({"id": west, "x": 1}, "placement_group.x", "There is no such field"),
        (7, "placement_group", "placement_group must be an object with id"),
    ):  # fmt: skip
        body = {**ORDER, "placement_group": given}
        assert (field, reason) in refused(customer, body, "/linode/instances")
    bad = {**ORDER, "placement_group": {"id": theirs}, "region": "mars"}
    assert refused(customer, bad, "/linode/instances") == [
        ("region", "region is not valid"),
        ("placement_group.id", unknown),
    ]
    for nothing in (None, {}, {"id": None, "compliant_only": False}):
        assert linode(customer, nothing)["placement_group"] is None


def test_a_create_with_no_host_left_says_so(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    group = {"id": created(customer)["id"]}
    linode(customer, group)
    body = {**ORDER, "placement_group": group}
    assert refused(customer, body, "/linode/instances") == [
        (
            "placement_group",
            "No host in us-east without a Linode of placement group web has room for "
            "g1-gpu-rtx6000-1 right now.",
        )
    ]


def test_lists_are_filtered(customer: Customer, shop: dict[str, Plan]) -> None:
    group = created(customer)
    created(customer, FLEXIBLE)
    inside, outside = (
        linode(customer, {"id": group["id"]})["id"],
        linode(customer)["id"],
    )
    for path, wanted, ids in (
        (URL, '{"label": "web"}', [group["id"]]),
        (URL, '{"region": "mars"}', []),
        (URL, '{"placement_group_type": "anti_affinity:local", "+limit": 1}',
         [group["id"]]),
        ("/linode/instances", '{"placement_group.label": "web"}', [inside]),
        ("/linode/instances", '{"placement_group.label": null}', [outside]),
        ("/linode/instances",
         '{"placement_group.placement_group_type": "anti_affinity:local"}', [inside]),
        ("/linode/instances", '{"placement_group.placement_group_type": null}',
         [outside]),
    ):  # fmt: skip
        listed = customer.api.get(path, x_filter=wanted).json()["data"]
        assert [row["id"] for row in listed] == ids, wanted


def test_scopes_are_those_of_linodes(shop: dict[str, Plan]) -> None:
    reader = make_customer(scopes="linodes:read_only")
    assert reader.api.get(URL).status_code == 200
    assert reader.api.post(URL, STRICT).status_code == 401
    assert make_customer(scopes="firewall:read_write").api.get(URL).status_code == 401
    created(make_customer(scopes="linodes:read_write"))


def test_a_list_costs_the_same_however_long(
    customer: Customer, shop: dict[str, Plan], django_assert_num_queries: Any
) -> None:
    for number in range(2):
        group = created(customer, {**FLEXIBLE, "label": f"g{number}"})
        for _ in range(2):
            linode(customer, {"id": group["id"]})
        with django_assert_num_queries(4):
            assert customer.api.get(URL).json()["results"] == number + 1
