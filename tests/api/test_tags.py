"""Tags: made, carried, removed; and what an instance's PUT changes."""

from typing import Any

import pytest

from instances import selectors
from instances.actions import tags as actions
from instances.choices import EventStatus, Phase
from instances.models import Event, Instance, Plan, Tag
from tests.api.builders import Customer, errors_of
from tests.api.test_lists import make_instance

pytestmark = pytest.mark.django_db


def labels(customer: Customer) -> list[str]:
    body = customer.api.get("/tags").json()
    assert body["results"] == len(body["data"])
    return [row["label"] for row in body["data"]]


def test_tags_are_what_was_made_and_what_is_carried(
    customer: Customer, outsider: Customer
) -> None:
    make_instance(customer, "alpha", tags=["prod", "blue"])
    make_instance(customer, "beta", tags=["prod"])
    make_instance(outsider, "gamma", tags=["foreign"])
    ended = make_instance(customer, "delta", tags=["old"])
    Instance.objects.filter(pk=ended.pk).update(
        phase=Phase.DELETED, ended_at=ended.created_at
    )
    made = customer.api.post("/tags", {"label": "alone"})
    assert (made.status_code, made.json()) == (200, {"label": "alone"})
    assert labels(customer) == ["alone", "blue", "prod"]
    assert labels(outsider) == ["foreign"]
    limited = customer.api.get("/tags", x_filter='{"+limit": 1}').json()
    assert (limited["data"], limited["results"]) == ([{"label": "alone"}], 1)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ('{"label": "prod"}', "Cannot filter on label: no such field here"),
        ('{"+order_by": "label"}', "Cannot order by label"),
        ('{"+order": "up"}', "+order is asc or desc"),
        ('{"+limit": 0}', "+limit is a whole number from 1"),
        ("[]", "Filter must be a JSON object"),
        ('{"+near": 1}', "Cannot filter on +near: no such operator here"),
    ],
)
def test_tags_cannot_be_filtered(customer: Customer, header: str, reason: str) -> None:
    response = customer.api.get("/tags", x_filter=header)
    assert (response.status_code, errors_of(response)) == (400, [("X-Filter", reason)])


def test_a_new_tag_is_put_on_linodes(customer: Customer) -> None:
    alpha = make_instance(customer, "alpha", tags=["prod"])
    beta = make_instance(customer, "beta")
    body = {"label": "blue", "linodes": [alpha.pk, beta.pk], "volumes": []}
    assert customer.api.post("/tags", body).status_code == 200
    assert [row.tags for row in Instance.objects.order_by("pk")] == [
        ["prod", "blue"], ["blue"],
    ]  # fmt: skip
    found = customer.api.get("/tags/blue").json()["data"]
    assert [(row["type"], row["data"]["label"]) for row in found] == [
        ("linode", "alpha"), ("linode", "beta"),
    ]  # fmt: skip
    shown = customer.api.get(f"/linode/instances/{alpha.pk}").json()
    assert found[0]["data"] == shown


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, [("label", "Length must be 3-50 characters")]),
        ({"label": "ab"}, [("label", "Length must be 3-50 characters")]),
        ({"label": "x" * 51}, [("label", "Length must be 3-50 characters")]),
        ({"label": "prod"}, [("label", "Tag already exists")]),
        ({"label": "new", "linodes": [0]}, [("linodes", "linodes must be a list of ids")]),
        ({"label": "new", "linodes": [True]},
         [("linodes", "linodes must be a list of ids")]),
        ({"label": "new", "linodes": [2**62]},
         [("linodes", f"Linode {2**62} is not one of yours")]),
        ({"label": "new", "domains": [1], "colour": 1},
         [("domains", "domains cannot be had yet; leave it out"),
          ("colour", "There is no such field")]),
    ],
)  # fmt: skip
def test_a_bad_tag_is_refused(customer: Customer, body: Any, errors: Any) -> None:
    make_instance(customer, "alpha", tags=["prod"])
    response = customer.api.post("/tags", body)
    assert (response.status_code, errors_of(response)) == (400, errors)
    assert not Tag.objects.exists()


def test_a_tag_goes_on_nobody_elses_linode(
    customer: Customer, outsider: Customer
) -> None:
    foreign = make_instance(outsider, "gamma")
    response = customer.api.post("/tags", {"label": "mine", "linodes": [foreign.pk]})
    assert response.status_code == 400
    assert errors_of(response) == [
        ("linodes", f"Linode {foreign.pk} is not one of yours")
    ]
    assert Instance.objects.get().tags == []


def test_a_tag_that_arrives_twice_is_on_a_linode_once(customer: Customer) -> None:
    made = make_instance(customer, "alpha")
    labels_then = selectors.tag_labels_of(customer.account)
    # As when another request tags the Linode between the check and the change.
    Instance.objects.update(tags=["blue"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(actions, "tag_labels_of", lambda account: labels_then)
        actions.create(customer.account, "blue", [made.pk])
    assert Instance.objects.get().tags == ["blue"]


def test_a_linode_of_100_tags_takes_no_more(customer: Customer) -> None:
    full = make_instance(customer, "alpha", tags=[f"tag{n}" for n in range(100)])
    response = customer.api.post("/tags", {"label": "more", "linodes": [full.pk]})
    assert errors_of(response) == [
        ("linodes", f"Linode {full.pk} has 100 tags already")
    ]


def test_a_removed_tag_is_on_nothing(customer: Customer, outsider: Customer) -> None:
    make_instance(customer, "alpha", tags=["prod", "a/b c"])
    make_instance(outsider, "gamma", tags=["a/b c"])
    assert customer.api.get("/tags/a%2Fb%20c").json()["results"] == 1
    assert customer.api.delete("/tags/a/b%20c").json() == {}
    assert labels(customer) == ["prod"]
    assert labels(outsider) == ["a/b c"]
    for method in ("GET", "DELETE"):
        assert customer.api.call(method, "/tags/a/b%20c").status_code == 404


def test_an_update_renames_and_retags(customer: Customer) -> None:
    made = make_instance(customer, "alpha", tags=["prod"])
    path = f"/linode/instances/{made.pk}"
    shown = customer.api.get(path).json()
    changed = customer.api.put(path, {**shown, "label": "omega", "tags": ["test"]})
    assert changed.status_code == 200, changed.content
    body = changed.json()
    assert (body["label"], body["tags"]) == ("omega", ["test"])
    row = Instance.objects.get()
    assert (row.label, row.tags) == ("omega", ["test"])
    (event,) = customer.api.get("/account/events").json()["data"]
    assert (event["action"], event["status"]) == ("linode_update", "notification")
    assert (event["percent_complete"], event["username"]) == (100, "carol")
    assert (event["entity"]["id"], event["entity"]["label"]) == (made.pk, "omega")


def test_an_update_of_nothing_changes_nothing(customer: Customer) -> None:
    made = make_instance(customer, "alpha", tags=["prod"])
    path = f"/linode/instances/{made.pk}"
    shown = customer.api.get(path).json()
    assert customer.api.put(path, {}).json() == shown
    kept = {"alerts": {"cpu": 0}, "hypervisor": "kvm", "group": ""}
    assert customer.api.put(path, kept).json() == shown
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"label": "x"}, [("label", "Label must be 3 to 64 characters: letters, digits, "
                           "single - _ or . between them")]),
        ({"label": "beta"}, [("label", "Label must be unique among your linodes")]),
        ({"label": 5, "tags": "prod"},
         [("label", "label must be a string"),
          ("tags", "tags must be a list of strings")]),
        ({"label": "", "tags": ["ab"]},
         [("label", "Label must be 3 to 64 characters: letters, digits, single - _ or . "
           "between them"), ("tags", "At most 100 tags of 3 to 50 characters each")]),
        ({"watchdog_enabled": 1, "alerts": {"cpu": 90}, "type": "g6-nanode-1", "x": 1},
         [("watchdog_enabled", "watchdog_enabled must be true or false"),
          ("alerts", "alerts cannot be changed"), ("type", "type cannot be changed"),
          ("x", "There is no such field")]),
    ],
)  # fmt: skip
def test_a_bad_update_is_refused(customer: Customer, body: Any, errors: Any) -> None:
    made = make_instance(customer, "alpha", tags=["prod"])
    make_instance(customer, "beta")
    response = customer.api.put(f"/linode/instances/{made.pk}", body)
    assert (response.status_code, errors_of(response)) == (400, errors)
    made.refresh_from_db()
    assert (made.label, made.tags) == ("alpha", ["prod"])
    assert not Event.objects.filter(status=EventStatus.NOTIFICATION).exists()


def test_a_linode_may_keep_its_label(customer: Customer, shop: dict[str, Plan]) -> None:
    made = make_instance(customer, "alpha")
    response = customer.api.put(f"/linode/instances/{made.pk}", {"label": "alpha"})
    assert response.status_code == 200
