"""No account reaches another's things: every address with an id, with every method.

The cases come from the URL table. A new address with an id fails here until OWNED or
SHARED says what its id is of.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.core import serializers
from django.urls import URLPattern
from django.utils import timezone

from flags.models import Beta
from instances import tokens
from instances.actions.trials import Grant, grant
from instances.api.urls import urlpatterns
from instances.choices import EventAction, EventStatus
from instances.models import (
    ApiChange,
    ApiToken,
    Event,
    Firewall,
    FirewallDevice,
    Image,
    Instance,
    Plan,
    SSHKey,
    TokenRate,
)
from instances.selectors import host_of
from inventory.address_claims import claim_address, open_address_of
from tests.api.builders import ORDER, Customer, make_customer
from tests.builders import make_beta, make_invoice, make_network, make_plan

pytestmark = pytest.mark.django_db
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# What every account may see, if its flags are open: those have tests of their own.
SHARED = {"region_id", "type_id", "image_id", "kernel_id", "beta_id"}


def _instance(owner: Customer) -> int:
    return int(owner.api.post("/linode/instances", ORDER).json()["id"])


def _event(owner: Customer) -> int:
    return Event.objects.create(
        account=owner.account,
        action=EventAction.LINODE_BOOT,
        status=EventStatus.FINISHED,
        entity_id=1,
        entity_label="box",
        username=owner.username,
    ).pk


def _key(owner: Customer) -> int:
    user = owner.account.members.get()
    return SSHKey.objects.create(user=user, label="laptop", ssh_key="x").pk


def _token(owner: Customer) -> int:
    user = owner.account.members.get()
    return tokens.issue(owner.account, user, "script", tokens.new_secret()).pk


def _reservation(owner: Customer) -> int:
    expires = f"{timezone.now() + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}"
    body = {"type": ORDER["type"], "region": ORDER["region"], "expires": expires}
    return int(owner.api.post("/gpucloud/reservations", body).json()["id"])


def _tag(owner: Customer) -> str:
    assert owner.api.post("/tags", {"label": "theirs"}).status_code == 200
    return "theirs"


def _enrolment(owner: Customer) -> str:
    make_beta("theirs")
    assert owner.api.post("/account/betas", {"id": "theirs"}).status_code == 200
    return "theirs"


def _webhook(owner: Customer) -> int:
    body = {"url": "https://ops.example.net/theirs"}
    return int(owner.api.post("/gpucloud/webhooks", body).json()["id"])


def _place_in_line(owner: Customer) -> int:
    body = {"type": ORDER["type"], "region": ORDER["region"]}
    return int(owner.api.post("/gpucloud/waitlist", body).json()["id"])


def _firewall(owner: Customer) -> int:
    rules = {"inbound_policy": "DROP", "outbound_policy": "ACCEPT"}
    body = {"label": "theirs", "rules": rules}
    return int(owner.api.post("/networking/firewalls", body).json()["id"])


def _placement_group(owner: Customer) -> int:
    body = {
        "label": "theirs",
        "region": ORDER["region"],
        "placement_group_type": "anti_affinity:local",
        "placement_group_policy": "strict",
    }
    return int(owner.api.post("/placement/groups", body).json()["id"])


def _device(owner: Customer) -> int:
    """Put an instance on the firewall that the route's first id is of."""
    firewall = Firewall.objects.get(account=owner.account)
    return FirewallDevice.objects.create(
        firewall=firewall, instance_id=_instance(owner)
    ).pk


def _newest(owner: Customer) -> Instance:
    rows = Instance.objects.filter(account=owner.account).order_by("-pk")
    return rows.first() or Instance.objects.get(pk=_instance(owner))


def _address(owner: Customer) -> str:
    """Give the instance that the route's first id is of an address, if it has none."""
    instance = _newest(owner)
    held = open_address_of(instance.uuid)
    if held is None:
        host = host_of(instance)
        assert host is not None
        make_network(host, third=instance.pk % 256, host=host)
        held = claim_address(host, instance.uuid)
    return held.address


def _disk(owner: Customer) -> int:
    """Have the instance that the route's first id is of boot from a disk."""
    instance = _newest(owner)
    image = Image.objects.filter(slug="linode/disk").first() or Image.objects.create(
        slug="linode/disk",
        source="a.raw",
        sha256="0" * 64,
        disk_format="raw",
        file_bytes=1,
        virtual_bytes=1,
        is_offered=False,
    )
    Instance.objects.filter(pk=instance.pk).update(image=image)
    return instance.pk


def _trial(owner: Customer) -> int:
    plans = (make_plan(),)
    order = Grant(owner.account, plans, 1, 1, "user:staff", "to see it")
    return grant(order).pk


# A route's parameter -> make one for the owner and return its id.
OWNED: dict[str, Callable[[Customer], object]] = {
    "instance_id": _instance,
    "event_id": _event,
    "key_id": _key,
    "token_id": _token,
    "reservation_id": _reservation,
    "username": lambda owner: owner.username,
    "label": _tag,
    "enrolled_beta_id": _enrolment,
    "webhook_id": _webhook,
    "entry_id": _place_in_line,
    "firewall_id": _firewall,
    "device_id": _device,
    "group_id": _placement_group,
    "invoice_id": lambda owner: make_invoice(owner.account).pk,
    "address": _address,
    "disk_id": _disk,
    "trial_id": _trial,
}


def routes() -> list[tuple[str, frozenset[str]]]:
    """Return every route with a parameter, and its methods."""
    found = {}
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        route = str(pattern.pattern)
        if "<" in route and not route.endswith("/"):
            view = pattern.callback.view_class
            found[route] = frozenset(m for m in METHODS if hasattr(view, m.lower()))
    return sorted(found.items())


def parameters_of(route: str) -> list[str]:
    return re.findall(r"<\w+:(\w+)>", route)


def path_of(route: str, owner: Customer) -> str:
    """Return the route with ids of what is made for the owner, in their order."""
    for name in parameters_of(route):
        route = re.sub(rf"<\w+:{name}>", str(OWNED[name](owner)), route)
    return f"/{route}"


LISTS = sorted(
    f"/{pattern.pattern}"
    for pattern in urlpatterns
    if "<" not in str(pattern.pattern)
    and hasattr(pattern.callback.view_class, "get")
    # The document is the same for everyone, and full of examples.
    and not str(pattern.pattern).startswith("openapi.json")
)
PRIVATE = [r for r in routes() if set(parameters_of(r[0])) - SHARED]


def test_the_id_in_every_route_has_an_owner_or_is_shared() -> None:
    named = {name for route, _ in routes() for name in parameters_of(route)}
    assert named == SHARED | set(OWNED)
    assert {route for route, _ in PRIVATE} >= {
        "linode/instances/<int:instance_id>",
        "profile/tokens/<int:token_id>",
    }


def everything() -> dict[str, str]:
    """Return every row there is, but for what each request leaves behind."""
    left = {ApiChange, TokenRate}
    models = [m for m in apps.get_models() if m not in left and m._meta.managed]
    return {
        m._meta.label: serializers.serialize(
            "json",
            m._default_manager.order_by("pk"),
            fields=None if m is not ApiToken else ["revoked_at", "label", "scopes"],
        )
        for m in models
    }


@pytest.fixture
def owner(customer: Customer, shop: dict[str, Plan]) -> Customer:
    return customer


@pytest.fixture
def stranger(owner: Customer) -> Customer:
    return make_customer("stranger")


@pytest.mark.parametrize(("route", "methods"), PRIVATE)
def test_another_accounts_id_is_not_found_and_nothing_changes(
    route: str, methods: frozenset[str], owner: Customer, stranger: Customer
) -> None:
    path = path_of(route, owner)
    before = everything()
    bodies: list[Any] = [
        {},
        {"label": "taken-over", "tags": [], "email": "x@y.example"},
    ]
    for method in methods:
        for body in bodies:
            response = stranger.api.call(method, path, body)
            assert response.status_code == 404, (method, path)
            if method != "HEAD":
                assert response.json() == {"errors": [{"reason": "Not found"}]}
    assert everything() == before


@pytest.mark.parametrize(("route", "methods"), PRIVATE)
def test_the_owner_finds_it(
    route: str, methods: frozenset[str], owner: Customer
) -> None:
    path = path_of(route, owner)
    method = "GET" if "GET" in methods else min(methods)
    assert owner.api.call(method, path, {}).status_code != 404


@pytest.mark.parametrize("path", LISTS)
def test_no_list_shows_another_account(
    path: str, owner: Customer, stranger: Customer
) -> None:
    for make in OWNED.values():
        make(owner)
    # That there is a beta is no secret.
    Beta.objects.update(slug="shared", label="Shared")
    mine = stranger.api.get(path)
    text = mine.content.decode()
    assert mine.status_code == 200
    for word in ("theirs", "laptop", "script", "carol", owner.account.email):
        assert f'"{word}' not in text, word
