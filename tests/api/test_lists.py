"""Pages and X-Filter, on lists whose content is known."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from instances.choices import EventAction, EventStatus
from instances.models import Event, Instance, Plan
from inventory.models import Region
from tests.api.builders import Customer, errors_of
from tests.builders import make_image, make_plan, make_region

pytestmark = pytest.mark.django_db
START = datetime(2026, 1, 31, 12, 0, 0, 250000, tzinfo=UTC)


def make_instance(customer: Customer, label: str, **fields: Any) -> Instance:
    return Instance.objects.create(
        **{
            "account": customer.account,
            "plan": Plan.objects.first() or make_plan(cards=0),
            "region": make_region(),
            "image": make_image(),
            "label": label,
            "created_by": "user:test",
            **fields,
        }
    )


def make_events(customer: Customer, count: int) -> list[Event]:
    """Make events one minute apart; the n-th is about entity n // 2."""
    actions = (
        EventAction.LINODE_CREATE,
        EventAction.LINODE_BOOT,
        EventAction.LINODE_DELETE,
    )
    events = []
    for number in range(count):
        event = Event.objects.create(
            account=customer.account,
            action=actions[number % len(actions)],
            status=EventStatus.FINISHED,
            entity_id=number // 2,
            entity_label=f"box{number // 2}",
            username="carol",
        )
        Event.objects.filter(pk=event.pk).update(
            created_at=START + timedelta(minutes=number)
        )
        events.append(event)
    return events


def labels(customer: Customer, wanted: Any) -> list[str]:
    response = customer.api.get("/linode/instances", x_filter=json.dumps(wanted))
    assert response.status_code == 200, response.content
    body = response.json()
    assert body["results"] == len(body["data"])
    return [row["label"] for row in body["data"]]


def refusal(customer: Customer, header: str) -> str:
    response = customer.api.get("/linode/instances", x_filter=header)
    assert response.status_code == 400
    ((field, reason),) = errors_of(response)
    assert field == "X-Filter"
    return reason


@pytest.fixture
def fleet(customer: Customer) -> None:
    make_region("ap-west")
    make_instance(customer, "alpha", tags=["prod", "blue"])
    make_instance(customer, "beta", tags=["test"])
    make_instance(
        customer, "Gamma", tags=["prod-eu"], region=Region.objects.get(slug="ap-west")
    )
    make_instance(customer, "delta", image=make_image("gpucloud/other"))


def test_an_empty_list_is_one_page(customer: Customer) -> None:
    assert customer.api.get("/linode/instances").json() == {
        "data": [], "page": 1, "pages": 1, "results": 0,
    }  # fmt: skip


def test_pages_hold_each_row_once(customer: Customer) -> None:
    made = [make_instance(customer, f"box{n:02}").pk for n in range(55)]
    found = []
    for page in (1, 2, 3):
        body = customer.api.get(f"/linode/instances?page={page}&page_size=25").json()
        assert (body["page"], body["pages"], body["results"]) == (page, 3, 55)
        found += [row["id"] for row in body["data"]]
    assert found == made


def test_a_page_has_100_rows_unless_said(customer: Customer) -> None:
    make_events(customer, 101)
    body = customer.api.get("/account/events").json()
    assert (len(body["data"]), body["pages"], body["results"]) == (100, 2, 101)


def test_a_page_after_the_last_is_empty(customer: Customer) -> None:
    make_events(customer, 1)
    body = customer.api.get("/account/events?page=999999999&page_size=500").json()
    assert body == {"data": [], "page": 999999999, "pages": 1, "results": 1}


@pytest.mark.parametrize(
    "size", ["24", "501", "0", "-1", "x", "", "1e2", "25.0", "\uff12\uff15"]
)
def test_a_bad_page_size_is_refused(customer: Customer, size: str) -> None:
    response = customer.api.get(f"/regions?page_size={size}")
    assert response.status_code == 400
    assert errors_of(response) == [("page_size", "Must be 25-500")]


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "1000000000"])
def test_a_bad_page_is_refused(customer: Customer, page: str) -> None:
    response = customer.api.get(f"/linode/types?page={page}&page_size=1")
    assert response.status_code == 400
    assert errors_of(response) == [
        ("page", "Must be 1 or greater"),
        ("page_size", "Must be 25-500"),
    ]


def test_a_single_object_ignores_pages_and_filters(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    path = "/regions/us-east?page=0&page_size=1"
    assert customer.api.get(path, x_filter="{").status_code == 200


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["alpha", "beta", "Gamma", "delta"]),
        ({"label": "beta"}, ["beta"]),
        ({"label": "nobody"}, []),
        ({"region": "ap-west"}, ["Gamma"]),
        ({"image": "gpucloud/other"}, ["delta"]),
        ({"region": "us-east", "image": "gpucloud/probe"}, ["alpha", "beta"]),
        ({"tags": "prod"}, ["alpha"]),
        ({"tags": {"+contains": "PROD"}}, ["alpha", "Gamma"]),
        ({"tags": {"+contains": "d,b"}}, []),
        ({"tags": {"+neq": "prod"}}, ["beta", "Gamma", "delta"]),
        ({"label": {"+neq": "beta"}}, ["alpha", "Gamma", "delta"]),
        ({"label": {"+contains": "AM"}}, ["Gamma"]),
        ({"label": {"+contains": "%"}}, []),
        ({"label": {"+contains": "a", "+neq": "delta"}}, ["alpha", "beta", "Gamma"]),
        ({"+or": [{"label": "beta"}, {"region": "ap-west"}]}, ["beta", "Gamma"]),
        ({"+and": [{"tags": "prod"}, {"tags": "blue"}]}, ["alpha"]),
        ({"+or": [{"label": "beta"}, {"+and": [{"tags": "prod"}, {"tags": "x"}]}]},
         ["beta"]),
        ({"+or": [{"label": "beta"}, {}]}, ["alpha", "beta", "Gamma", "delta"]),
        ({"+or": [{"label": "beta"}], "region": "ap-west"}, []),
        ({"+order_by": "label"}, ["alpha", "beta", "delta", "Gamma"]),
        ({"+order_by": "id", "+order": "desc"}, ["delta", "Gamma", "beta", "alpha"]),
        ({"+order": "desc"}, ["alpha", "beta", "Gamma", "delta"]),
        ({"+order_by": "group"}, ["alpha", "beta", "Gamma", "delta"]),
        ({"+limit": 2}, ["alpha", "beta"]),
        ({"+and": [{"region": "us-east"}, {"+order_by": "id", "+order": "desc"},
                   {"+and": [{"+limit": 2}]}]}, ["delta", "beta"]),
        ({"region": "us-east", "+order_by": "label", "+order": "desc", "+limit": 1},
         ["delta"]),
        ({"group": ""}, ["alpha", "beta", "Gamma", "delta"]),
        ({"group": "web"}, []),
        ({"ipv4": "192.0.2.1"}, []),
        ({"ipv4": {"+contains": "1"}}, []),
        ({"ipv4": {"+neq": "192.0.2.1"}}, ["alpha", "beta", "Gamma", "delta"]),
        ({"interface_generation": "legacy_config", "label": "beta"}, ["beta"]),
        ({"interface_generation": "linode"}, []),
        ({"placement_group.label": "x"}, []),
        ({"placement_group.placement_group_type": None, "label": "beta"}, ["beta"]),
        ({"id": None}, []),
        ({"id": {"+gte": 9223372036854775807}}, []),
        ({"id": {"+gt": 0}, "label": "beta"}, ["beta"]),
    ],
)  # fmt: skip
def test_filters(
    customer: Customer, fleet: None, wanted: Any, found: list[str]
) -> None:
    if wanted.get("+order_by") == "label":
        # The database's collation decides about capitals; members are what matters.
        assert sorted(labels(customer, wanted)) == sorted(found)
    else:
        assert labels(customer, wanted) == found


def test_a_limit_counts_across_pages(customer: Customer) -> None:
    make_events(customer, 60)
    wanted = json.dumps({"+limit": 30})
    first = customer.api.get("/account/events?page_size=25", x_filter=wanted).json()
    second = customer.api.get(
        "/account/events?page_size=25&page=2", x_filter=wanted
    ).json()
    assert (len(first["data"]), first["pages"], first["results"]) == (25, 2, 30)
    assert len(second["data"]) == 5


def test_query_string_filters_are_ignored(customer: Customer, fleet: None) -> None:
    assert customer.api.get("/linode/instances?label=beta").json()["results"] == 4


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("{", "Filter not valid JSON"),
        ('{"label": NaN}', "Filter not valid JSON"),
        ('{"label": "a\\u0000"}', "Filter not valid JSON"),
        ("\xff", "Filter not valid JSON"),
        ("[]", "Filter must be a JSON object"),
        ("null", "Filter must be a JSON object"),
        ('{"hypervisor": "kvm"}', "Cannot filter on hypervisor: no such field here"),
        ('{"account__name": "x"}', "Cannot filter on account__name: no such field here"),
        ('{"plan__slug": "x"}', "Cannot filter on plan__slug: no such field here"),
        ('{"+xor": []}', "Cannot filter on +xor: no such operator here"),
        ('{"label": {"+regex": "x"}}', "Cannot filter on label: no operator +regex"),
        ('{"label": {"x": 1}}', "Cannot filter on label: no operator x"),
        ('{"label": 5}', "Cannot filter on label: the value must be a string"),
        ('{"label": ["a"]}', "Cannot filter on label: the value must be a string"),
        ('{"id": "5"}', "Cannot filter on id: the value must be a whole number"),
        ('{"id": true}', "Cannot filter on id: the value must be a whole number"),
        ('{"id": 1.5}', "Cannot filter on id: the value must be a whole number"),
        (f'{{"id": {2**63}}}', "Cannot filter on id: the value must be a whole number"),
        ('{"id": {"+contains": 1}}', "Cannot filter on id: +contains is for strings"),
        ('{"id": {"+gt": null}}', "Cannot filter on id: +gt cannot compare here"),
        ('{"tags": {"+gt": "a"}}', "Cannot filter on tags: +gt cannot compare here"),
        ('{"+and": {}}', "+and takes a list of objects"),
        ('{"+or": []}', "+or takes a list of objects"),
        ('{"+or": [1]}', "+and and +or take lists of objects"),
        ('{"+order_by": "hypervisor"}', "Cannot order by hypervisor"),
        ('{"+order_by": ["id"]}', "Cannot order by ['id']"),
        ('{"+order_by": "tags"}', "Cannot order by tags: it is a list"),
        ('{"+order": "up"}', "+order is asc or desc"),
        ('{"+limit": 0}', "+limit is a whole number from 1"),
        ('{"+limit": "5"}', "+limit is a whole number from 1"),
        ('{"+or": [{"+limit": 5}]}', "Cannot filter on +limit: no such operator here"),
        ('{"+and": [{"+limit": 5}], "+limit": 5}', "+limit may be given once"),
        ('{"label": "%s"}' % ("x" * 5000), "Filter longer than 4096 characters"),
        ('{"+and":[' * 7 + "{}" + "]}" * 7, "Filter nested deeper than 6"),
        ('{"+and":[' * 300 + "{}" + "]}" * 300, "Filter nested deeper than 6"),
        ('{"+or":[' + ",".join(['{"id":1}'] * 51) + "]}",
         "Filter with more than 50 conditions"),
    ],
    ids=lambda value: value[:40],
)  # fmt: skip
def test_what_cannot_be_filtered_is_refused(
    customer: Customer, header: str, reason: str
) -> None:
    assert refusal(customer, header) == reason


def test_a_filter_may_be_utf_8(customer: Customer, fleet: None) -> None:
    header = json.dumps({"label": "żółw"}, ensure_ascii=False)
    response = customer.api.get(
        "/linode/instances", x_filter=header.encode().decode("latin-1")
    )
    assert response.json()["results"] == 0


@pytest.mark.parametrize(
    ("wanted", "minutes"),
    [
        ({"created": "2026-01-31T12:01:00"}, [1]),
        ({"created": {"+neq": "2026-01-31T12:01:00"}}, [3, 2, 0]),
        ({"created": {"+gt": "2026-01-31T12:01:00"}}, [3, 2]),
        ({"created": {"+gte": "2026-01-31T12:01:00"}}, [3, 2, 1]),
        ({"created": {"+lt": "2026-01-31T12:01:00"}}, [0]),
        ({"created": {"+lte": "2026-01-31T12:01:00"}}, [1, 0]),
        ({"+order_by": "created", "+order": "asc"}, [0, 1, 2, 3]),
        ({"+order_by": "created", "+order": "desc"}, [3, 2, 1, 0]),
        ({"entity.id": 1}, [3, 2]),
        ({"entity.id": None}, []),
        ({"entity.type": "linode", "entity.id": 0}, [1, 0]),
        ({"entity.type": "disk"}, []),
        ({"action": "linode_create"}, [3, 0]),
        ({"+order": "asc", "+order_by": "created", "entity.id": 0,
          "entity.type": "linode", "action": "linode_create"}, [0]),
        ({"+order_by": "entity.id", "+order": "desc"}, [3, 2, 1, 0]),
    ],
)  # fmt: skip
def test_event_filters(customer: Customer, wanted: Any, minutes: list[int]) -> None:
    made = [event.pk for event in make_events(customer, 4)]
    body = customer.api.get("/account/events", x_filter=json.dumps(wanted)).json()
    assert [made.index(row["id"]) for row in body["data"]] == minutes


@pytest.mark.parametrize(
    "value",
    ["yesterday", "2026-01-31", "2026-01-31T12:00:00Z", "9999-12-31T23:59:59", 5],
)
def test_a_date_in_another_form_is_refused(customer: Customer, value: Any) -> None:
    response = customer.api.get(
        "/account/events", x_filter=json.dumps({"created": value})
    )
    assert response.status_code == 400
    assert errors_of(response) == [
        (
            "X-Filter",
            "Cannot filter on created: the value must be a date like "
            "2026-01-31T12:00:00",
        )
    ]


@pytest.mark.parametrize(
    ("path", "wanted", "found"),
    [
        ("/linode/types", {"class": "gpu"}, ["g1-gpu-rtx6000-1"]),
        ("/linode/types", {"gpus": {"+gte": 1}}, ["g1-gpu-rtx6000-1"]),
        ("/linode/types", {"memory": {"+lt": 200}}, ["g6-standard-2"]),
        ("/linode/types", {"label": {"+contains": "linode"}}, ["g6-standard-2"]),
        ("/linode/types", {"accelerated_devices": 0, "vcpus": 1, "gpus": 1},
         ["g1-gpu-rtx6000-1"]),
        ("/linode/types", {"+order_by": "gpus", "+order": "desc", "+limit": 1},
         ["g1-gpu-rtx6000-1"]),
        ("/regions", {"country": "in"}, ["ap-west"]),
        ("/regions", {"site_type": "core"}, ["ap-west", "us-east"]),
        ("/regions", {"site_type": "distributed"}, []),
        ("/images", {"is_public": True}, ["gpucloud/probe"]),
        ("/images", {"is_public": False}, []),
        ("/images", {"deprecated": False, "type": "manual"}, ["gpucloud/probe"]),
        ("/images", {"tags": "x"}, []),
        ("/images", {"vendor": None}, []),
        ("/images", {"is_shared": {"+neq": True}, "size": 1}, ["gpucloud/probe"]),
    ],
)  # fmt: skip
def test_catalogue_filters(
    customer: Customer,
    shop: dict[str, Plan],
    path: str,
    wanted: Any,
    found: list[str],
) -> None:
    body = customer.api.get(path, x_filter=json.dumps(wanted)).json()
    assert [row["id"] for row in body["data"]] == found


def test_a_filter_reveals_no_hidden_plan(
    outsider: Customer, shop: dict[str, Plan]
) -> None:
    wanted = json.dumps({"+or": [{"class": "gpu"}, {"gpus": 1}]})
    assert outsider.api.get("/linode/types", x_filter=wanted).json()["results"] == 0


@pytest.mark.parametrize("path", ["/linode/instances", "/account/events"])
def test_query_count_does_not_depend_on_the_number_of_rows(
    customer: Customer, path: str, django_assert_num_queries: Any
) -> None:
    for count in (3, 30):
        make_events(customer, count)
        for number in range(count):
            make_instance(
                customer,
                f"box-{count}-{number}",
                plan=make_plan(cards=0),
                region=make_region(f"r{number}"),
                image=make_image(f"gpucloud/i{number}"),
            )
        # The token is looked up by a prepared statement, which does not show here.
        with django_assert_num_queries(3):
            results = customer.api.get(path).json()["results"]
        assert results == {3: 3, 30: 33}[count]
