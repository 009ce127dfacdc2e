"""Whatever is sent, what reads it refuses it by its own error, or makes something sound."""

import json
import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.exceptions import EmptyResultSet
from django.db.models import Q
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from instances.actions.webhooks import url_problem
from instances.api import filter_fields
from instances.api.create_request import (
    guest_problems,
    guest_settings_from,
    idempotency_key,
    unavailable_problems,
)
from instances.api.filtering import MAX_CONDITIONS, filtered, wanted_of
from instances.api.parsing import NotJson, is_storable, loads
from instances.disk_images import HEADER_BYTES, virtual_bytes
from instances.exceptions import ImageUnusable, InvalidRequest
from instances.fetching import Limits, fetched
from instances.firewall_rules import BadRules, checked, rules_of
from instances.models import Event, Instance
from instances.outbound import is_public, shown
from instances.ssh_keys import UnfitKey, canonical
from tests.api.builders import Customer
from tests.api.test_profile import KEY

ANYTHING = st.text(st.characters(), max_size=30)
ODD = st.sampled_from(
    [
        0,
        -1,
        2**31,
        2**63,
        -(2**63) - 1,
        10**400,
        1e400,
        0.1,
        True,
        None,
        "",
        "\x00",
        "\ud800",
    ]
)
JSON = st.recursive(
    st.one_of(ODD, ANYTHING, st.integers(), st.floats()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(ANYTHING, inner, max_size=3)
    ),
    max_leaves=8,
)
MANY = hypothesis_settings(max_examples=200)


@given(st.one_of(ANYTHING, JSON.map(json.dumps)))
@MANY
def test_json_is_refused_or_storable(text: str) -> None:
    try:
        document = loads(text)
    except NotJson:
        return
    # As the database will be given it.
    assert is_storable(json.dumps(document, ensure_ascii=False, allow_nan=False))


@pytest.mark.django_db
@pytest.mark.parametrize("depth", [90, 300, 470, 900, 10000])
@pytest.mark.parametrize("opening", ['{"a":', "["])
def test_deep_body_is_no_error_of_ours(
    customer: Customer, depth: int, opening: str
) -> None:
    closing = {"[": "]"}.get(opening, "}")
    deep = f"{opening * depth}1{closing * depth}".replace("[1]", "[]")
    for path, field in (
        ("/linode/instances", "interfaces"),
        ("/linode/instances", "metadata"),
        ("/networking/firewalls", "rules"),
        ("/gpucloud/reservations", "type"),
    ):
        answer = customer.api.post(path, f'{{"{field}": {deep}}}'.encode())
        assert answer.status_code == 400, (path, depth)
    answer = customer.api.get("/linode/instances", x_filter=deep[:4000])
    assert answer.status_code == 400


FIELD_SETS = {
    name: fields
    for name, fields in vars(filter_fields).items()
    if name.endswith("_FIELDS")
}


@st.composite
def filters(draw: st.DrawFn) -> str:
    """Draw what X-Filter may be: names of fields and operators in all places."""
    _, fields = draw(st.sampled_from(sorted(FIELD_SETS.items())))
    operators = ("+and", "+or", "+neq", "+gt", "+lte", "+contains", "nothing")
    names = st.sampled_from([*fields, *operators, "+order_by", "+order", "+limit"])
    values = st.recursive(
        st.one_of(ODD, ANYTHING, names, st.just("2026-01-31T12:00:00"), st.integers()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)
        ),
        max_leaves=10,
    )
    return json.dumps(draw(st.dictionaries(names, values, max_size=3)))


def conditions(of: Q) -> int:
    return sum(conditions(c) if isinstance(c, Q) else 1 for c in of.children)


@given(st.one_of(filters(), ANYTHING))
@hypothesis_settings(max_examples=150)
def test_filter_is_refused_or_bounded_and_becomes_sql(header: str) -> None:
    for model, fields in (
        (Instance, filter_fields.INSTANCE_FIELDS),
        (Event, filter_fields.EVENT_FIELDS),
    ):
        with suppress(InvalidRequest, EmptyResultSet):
            # A moment's equality is two.
            found = conditions(wanted_of(header, fields).condition)
            assert found <= 2 * MAX_CONDITIONS
            sql, values = filtered(
                model.objects.all(), header, fields
            ).query.sql_with_params()
            assert all(
                str(value) not in sql for value in values if len(str(value)) > 12
            )


@given(st.one_of(ANYTHING, st.binary(max_size=60).map(lambda b: b.decode("latin-1"))))
@MANY
def test_key_is_refused_or_one_line_of_three_words(text: str) -> None:
    for given_ in (text, f"ssh-ed25519 {text}", f"{KEY} {text}", f"{KEY}{text}"):
        with suppress(UnfitKey):
            key = canonical(given_)
            assert key.isprintable()
            assert key.startswith(("ssh-", "ecdsa-", "sk-"))
            assert canonical(key) == key


RULE = {
    "protocol": "TCP",
    "action": "ACCEPT",
    "ports": "22",
    "addresses": {"ipv4": ["10.0.0.0/8"]},
}


@given(data=st.data())
@MANY
def test_rules_are_refused_or_mean_something(data: st.DataObject) -> None:
    rule: dict[str, Any] = dict(RULE)
    for name in data.draw(st.lists(st.sampled_from([*RULE, "label", "x"]), max_size=2)):
        rule[name] = data.draw(st.one_of(JSON, st.from_regex(r"[0-9, -]{0,12}")))
    body = {
        "inbound": data.draw(st.sampled_from([[rule], [rule] * 26, rule, [[rule]]])),
        "inbound_policy": "DROP",
        "outbound_policy": data.draw(st.one_of(st.just("DROP"), JSON)),
    }
    with suppress(BadRules):
        (meant,) = rules_of(checked(body)).inbound
        assert meant.networks
        assert all(1 <= first <= last <= 65535 for first, last in meant.ports)


@given(JSON, JSON)
@MANY
def test_body_of_a_create_is_told_what_is_wrong_with_it(one: Any, two: Any) -> None:
    names = ("metadata", "authorized_keys", "authorized_users", "booted", "interfaces")
    for name in names:
        for body in ({name: one}, {"metadata": {"user_data": one}, name: two}):
            for problem in (*guest_problems(body), *unavailable_problems(body, names)):
                assert isinstance(problem[1], str)
            settings = guest_settings_from(body)
            assert isinstance(settings.user_data, bytes)
            assert all(isinstance(key, str) for key in settings.keys)


@given(st.text(st.characters(), max_size=220))
@MANY
def test_idempotency_key_is_refused_or_printable(text: str) -> None:
    with suppress(InvalidRequest):
        key = idempotency_key(text)
        assert key == text
        assert len(key) <= 200
        assert key.isascii()


@given(
    st.binary(max_size=120), st.integers(0, 2**40), st.sampled_from(["raw", "qcow2"])
)
@MANY
def test_image_is_refused_or_has_a_size(header: bytes, size: int, form: str) -> None:
    for start in (header, b"QFI\xfb" + header, b"QFI\xfb\0\0\0\3" + header):
        with suppress(ImageUnusable):
            found = virtual_bytes(start[:HEADER_BYTES], form, size)
            assert found > 0
            assert form == "qcow2" or not start.startswith(b"QFI")


INSIDE = [
    *("127.0.0.1", "127.1", "0x7f.1", "2130706433", "017700000001", "0"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]"),
    *("169.254.169.254", "[fd00:ec2::254]", "10.0.0.1", "192.168.0.1", "100.64.0.1"),
    *(
        "127.0.0.1.",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "a.localhost",
        "x@127.0.0.1",
    ),
    *("evil.example@127.0.0.1", "127.0.0.1\\@10.0.0.1", "127。0。0。1", "①②⑦.0.0.1"),
    *(
        "%31%32%37.0.0.1",
        "[::1%25lo]",
        "[fe80::1%25eth0]",
        "[fec0::1]",
        "[2002:7f00:1::]",
    ),
]


@pytest.mark.parametrize("host", INSIDE)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_spelling_of_a_host_leads_inside(
    host: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is connected to: neither by a webhook nor for an image."""

    def connect(address: tuple[str, int], *_: object) -> None:
        pytest.fail(f"{host} led to {address}")

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(ImageUnusable):
        list(fetched(f"{scheme}://{host}/disk", Limits(10, 5)))


def test_name_is_asked_once_and_the_answer_is_what_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its owner may answer another address the next time (DNS rebinding)."""
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    connected: list[str] = []

    def connect(address: tuple[str, int], *_: object) -> None:
        connected.append(address[0])
        raise ConnectionRefusedError

    def resolve(_host: str, port: int, **_: object) -> list[Any]:
        return [(0, 0, 0, "", (address, port)) for address in next(answers)]

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    with pytest.raises(ImageUnusable, match="cannot be reached"):
        list(fetched("https://rebind.example/disk", Limits(10, 5)))
    assert connected == ["93.184.216.34"]
    with pytest.raises(ImageUnusable, match="private network"):
        list(fetched("https://rebind.example/disk", Limits(10, 5)))
    assert connected == ["93.184.216.34"]


@given(
    st.one_of(
        st.text(st.characters(), max_size=40),
        st.text(st.sampled_from("https://[]@:%.?#\\ \r\n\t0123x"), max_size=30),
    )
)
@MANY
def test_address_of_a_webhook_is_refused_or_one_that_can_be_sent_to(text: str) -> None:
    for url in (text, f"https://{text}", f"https://example.com{text}"):
        shown(url)
        if url_problem(url) is None:
            parts = urlsplit(url)
            assert parts.scheme == "https"
            assert parts.hostname
            assert parts.username is None
            assert not any(each in url for each in "\r\n\t ")


@given(st.one_of(st.ip_addresses().map(str)))
@MANY
def test_every_address_is_public_or_not(address: str) -> None:
    v4 = ip_address(address)
    if v4.version == 4:
        assert is_public(address) is is_public(f"::ffff:{address}")
        assert not is_public(f"64:ff9b::{address}")
