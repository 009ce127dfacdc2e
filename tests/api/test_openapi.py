"""The OpenAPI document: valid, complete, and true of what the API really answers."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import URLPattern
from django.utils import timezone
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator

from instances.api import create_request
from instances.api.openapi.document import document
from instances.api.openapi.operations import OPERATIONS
from instances.api.openapi.schemas import components_of, schema_of
from instances.api.shapes.instances import LinodeCreate
from instances.api.urls import urlpatterns
from instances.models import Plan
from inventory.choices import HostPolicy
from inventory.models import Host
from tests.api.builders import ORDER, SECRET, ApiClient, Customer, work
from tests.api.test_isolation import METHODS, OWNED
from tests.api.test_profile import KEY
from tests.simulated import SimulatedHypervisor

SHARED_IDS = {
    "region_id": "us-east",
    "type_id": "g6-standard-2",
    "image_id": "gpucloud/probe",
    "beta_id": "theirs",
    "kernel_id": "linode/direct-disk",
}

GPUCLOUD_INSTANCES = "/v4/gpucloud/instances/"


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        for method, described in methods.items():
            yield path, method.upper(), described


def strict(schema: Any) -> Any:
    """Return the schema with objects closed: a field that is not in it is an error."""
    if isinstance(schema, list):
        return [strict(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(inner) for name, inner in schema.items()}
    if "properties" in schema:
        closed["additionalProperties"] = False
    return closed


def errors_in(answer: Any, schema: Any) -> list[str]:
    """Return what in the answer is not as the document's schema says."""
    # The references begin at the root of the document.
    rooted = {**schema, "components": document()["components"]}
    validator = Draft202012Validator(strict(rooted))
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(answer)]


def resolved(response: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in response:
        return response
    found: Any = document()
    for part in response["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


def test_the_document_is_valid_and_made_without_a_warning() -> None:
    GENERATOR_STATS.reset()
    made = SchemaGenerator().get_schema(request=None, public=True)
    validate_schema(made)
    assert not GENERATOR_STATS
    assert made["openapi"] == "3.1.0"


def test_every_method_of_every_address_is_described() -> None:
    expected = set()
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        route = re.sub(r"<\w+:(\w+)>", r"{\1}", str(pattern.pattern))
        if route.endswith("/") or route == "openapi.json":
            continue
        view = pattern.callback.view_class
        expected |= {
            (f"/v4/{route}", method)
            for method in METHODS
            if method != "HEAD" and hasattr(view, method.lower())
        }
    assert {(path, method) for path, method, _ in operations()} == expected
    names = [described["operationId"] for _, _, described in operations()]
    assert len(set(names)) == len(names) == len(OPERATIONS)


def test_every_component_is_referred_to_and_every_reference_leads_somewhere() -> None:
    text = json.dumps(document())
    for kind, components in document()["components"].items():
        if kind == "securitySchemes":
            continue
        referred = set(re.findall(rf'"#/components/{kind}/([\w-]+)"', text))
        assert referred == set(components)


def test_every_operation_tells_its_errors_and_its_scope() -> None:
    for path, method, described in operations():
        statuses = set(described["responses"])
        assert {"200", "401", "429", "500"} <= statuses
        assert ("404" in statuses) == ("{" in path)
        assert ("415" in statuses) == ("requestBody" in described)
        assert described["summary"]
        assert described["security"], (path, method)
    create = document()["paths"]["/v4/linode/instances"]["post"]
    assert create["security"] == [{"personalAccessToken": ["linodes:read_write"]}]
    listed = document()["paths"]["/v4/regions"]["get"]
    assert listed["security"] == [{}, {"personalAccessToken": []}]


def test_every_field_of_a_create_is_described() -> None:
    described = components_of({LinodeCreate})["LinodeCreate"]["properties"]
    assert set(described) == set(create_request._READ)


def test_what_no_shape_may_hold_has_no_schema() -> None:
    with pytest.raises(TypeError, match="no schema for"):
        schema_of(tuple[int, str])


@pytest.mark.django_db
def test_real_answers_are_as_the_document_says(
    customer: Customer,
    with_a_disk: Callable[[Customer], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("instances.api.views.console.read_console", lambda _: "text")
    bodies: dict[str, dict[str, Any]] = {
        "/v4/linode/instances": {**ORDER, "label": "second"},
        "/v4/profile/sshkeys": {"label": "desk", "ssh_key": KEY},
        "/v4/profile/tokens": {"label": "more", "expiry": "2199-01-31T12:00:00"},
        "/v4/tags": {"label": "another"},
        "/v4/account/betas": {"id": "theirs"},
        "/v4/gpucloud/waitlist": {"type": "g6-standard-2", "region": "us-east"},
        "/v4/gpucloud/webhooks": {"url": "https://ops.example.net/more"},
        "/v4/networking/firewalls": {
            "label": "another",
            "rules": {"inbound_policy": "DROP", "outbound_policy": "ACCEPT"},
        },
        "/v4/placement/groups": {
            "label": "another",
            "region": "us-east",
            "placement_group_type": "anti_affinity:local",
            "placement_group_policy": "strict",
        },
        "/v4/networking/firewalls/{firewall_id}/devices": {"type": "linode"},
        "/v4/linode/instances/{instance_id}/rebuild": {
            "image": "linode/debian12",
            "root_pass": SECRET,
        },
        "/v4/linode/instances/{instance_id}/password": {"root_pass": SECRET},
        "/v4/linode/instances/{instance_id}/resize": {"type": "larger-plan"},
        "/v4/gpucloud/instances/{instance_id}/gpu-report": {
            "problem": "slow",
            "text": "Half of what it was.",
        },
        "/v4/gpucloud/quotes": {"type": "g6-standard-2", "region": "us-east"},
        "/v4/gpucloud/reservations": {
            "type": "g6-standard-2",
            "region": "us-east",
            "expires": f"{timezone.now() + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}",
        },
    }
    # A disk of the instance with a GPU would be of no image that can be had.
    makers = {name: make for name, make in OWNED.items() if name != "disk_id"}
    made = {name: make(customer) for name, make in makers.items()}
    with_gpu = {"instance_id": made["instance_id"]}
    # One with a disk, whose password can be reset.
    made["instance_id"] = made["disk_id"] = with_a_disk(customer)
    bodies["/v4/networking/firewalls/{firewall_id}/devices"]["id"] = made["instance_id"]
    for verb in ("assign", "unassign"):
        linodes = {"linodes": [made["instance_id"]]}
        bodies[f"/v4/placement/groups/{{group_id}}/{verb}"] = linodes
    made["address"] = OWNED["address"](customer)
    ids: dict[str, Any] = made | SHARED_IDS
    host = SimulatedHypervisor()
    customer.api.put(f"/linode/instances/{made['instance_id']}", {"tags": ["theirs"]})
    seen = set()
    # What deletes comes last, of what is in another that first.
    for path, method, described in sorted(
        operations(), key=lambda o: (o[1] == "DELETE", o[1] == "DELETE" and -len(o[0]))
    ):
        of_path = ids | with_gpu if path.startswith(GPUCLOUD_INSTANCES) else ids
        target = path.format(**of_path)
        body = bodies.get(path, {}) if method == "POST" else None
        if path.endswith("/password"):
            customer.api.post(f"/linode/instances/{made['instance_id']}/shutdown")
        # A verb waits for no other.
        work(host)
        answer = customer.api.call(
            method, target.removeprefix("/v4"), {} if method == "PUT" else body
        )
        assert answer.status_code == 200, (method, target, answer.content)
        ((media_type, content),) = described["responses"]["200"]["content"].items()
        assert answer["Content-Type"].startswith(media_type)
        for header in described["responses"]["200"]["headers"]:
            assert header in answer, header
        if media_type == "application/json":
            assert errors_in(answer.json(), content["schema"]) == [], (method, target)
        seen.add((method, path))
    assert len(seen) == len(OPERATIONS)


@pytest.mark.django_db
def test_maintenance_is_as_the_document_says(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    customer.api.post("/linode/instances", ORDER)
    Host.objects.update(policy=HostPolicy.DRAINING)
    for path in ("/account/maintenance", "/account/notifications"):
        answer = customer.api.get(path).json()
        responses = document()["paths"][f"/v4{path}"]["get"]["responses"]
        schema = responses["200"]["content"]["application/json"]["schema"]
        assert answer["results"] == 1
        assert errors_in(answer, schema) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/linode/instances", {}, 400),
        ("GET", "/linode/instances/1", None, 404),
        ("POST", "/tags", b'"' + b"x" * 131072 + b'"', 413),
    ],
)
def test_real_refusals_are_as_the_document_says(
    customer: Customer, method: str, path: str, body: Any, status: int
) -> None:
    answer = customer.api.call(method, path, body)
    assert answer.status_code == status
    described = document()["paths"][re.sub(r"/1$", "/{instance_id}", f"/v4{path}")]
    response = resolved(described[method.lower()]["responses"][str(status)])
    content = response["content"]["application/json"]
    assert errors_in(answer.json(), content["schema"]) == []
    assert errors_in(content["example"], content["schema"]) == []


def test_the_check_itself_finds_a_wrong_answer() -> None:
    schema = {"$ref": "#/components/schemas/Tag"}
    assert errors_in({"label": "prod"}, schema) == []
    assert errors_in({"label": 5}, schema) == ["$.label: 5 is not of type 'string'"]
    assert len(errors_in({"label": "prod", "more": 1}, schema)) == 1
    assert len(errors_in({}, schema)) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("base", ["/v4", "/v4beta"])
def test_the_document_is_public(base: str) -> None:
    response = ApiClient(base=base).get("/openapi.json")
    assert response.status_code == 200
    assert response.json() == json.loads(json.dumps(document()))


def test_the_page_needs_nothing_from_elsewhere() -> None:
    response = Client().get("/docs/api/")
    assert response.status_code == 200
    html = response.content.decode()
    links = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert "https:" not in html
    assert len(links) == 5
    for link in links:
        if link == "/v4/openapi.json":
            continue
        assert link.startswith("/static/")
        assert finders.find(link.removeprefix("/static/")), link
    assert settings.STATIC_URL == "/static/"
