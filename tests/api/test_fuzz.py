"""Every answer to a made-up request is one that the OpenAPI document tells of.

schemathesis makes requests from the document, right and wrong ones; real ids and values are
mixed in, so that many get as far as a change. `make fuzz CALLS=10000 SEED=2` makes others.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from random import Random
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.db import Error, connection, connections, transaction
from django.utils import timezone
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.errors import InvalidSchema
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.transport import Response
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from flags.models import Flag
from instances.api.openapi.document import document
from instances.models import Plan
from tests.api.builders import (
    SECRET,
    ApiClient,
    Customer,
    make_customer,
    running_instance,
    work,
)
from tests.api.test_isolation import OWNED
from tests.api.test_openapi import SHARED_IDS
from tests.api.test_profile import KEY
from tests.builders import make_host
from tests.simulated import SimulatedHypervisor

CALLS = int(os.environ.get("GPUCLOUD_FUZZ_CALLS", "500"))
SEED = int(os.environ.get("GPUCLOUD_FUZZ_SEED", "1"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# name -> values that it may well have.
Known = dict[str, list[Any]]
# Of fields for which the document gives no example, or one that is not in the shop.
KNOWN: Known = {
    "type": ["g1-gpu-rtx6000-1", "g6-standard-2", "disk-plan", "larger-plan"],
    "region": ["us-east"],
    "image": ["gpucloud/probe", "linode/debian12"],
    "root_pass": [SECRET],
    "ssh_key": [KEY],
    "authorized_keys": [[], [KEY]],
    "authorized_users": [[], ["carol"]],
    "metadata": [{}],
    "scopes": ["linodes:read_only", "*"],
    "expiry": ["2199-01-31T12:00:00"],
    "tags": [[], ["theirs"]],
    "X-Filter": ['{"+limit": 10}'],
    "Idempotency-Key": ["again"],
}
# What schemathesis seldom comes upon, and databases refuse.
ODD_IDS = ["\x00", "0", str(2**31), str(2**63), "9" * 400, "%", "'"]


class Findings:
    """What was answered, and each kind of answer that the document does not tell of."""

    def __init__(self) -> None:
        self.calls: Counter[int] = Counter()
        self.accepted: Counter[str] = Counter()
        self.wrong: dict[tuple[str, str], str] = {}

    def note(self, case: Case, response: Response) -> None:
        self.calls[response.status_code] += 1
        if response.status_code == 200:
            self.accepted[case.operation.label] += 1
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                self.add(case, failure)

    def add(self, case: Case, failure: Exception) -> None:
        title = failure.title if isinstance(failure, Failure) else repr(failure)
        key = (case.operation.label, title)
        self.wrong.setdefault(key, f"{failure}\n{case.as_curl_command()}")

    def __str__(self) -> str:
        return "\n\n".join(f"{' '.join(k)}\n{v}" for k, v in self.wrong.items())


@contextmanager
def undone() -> Iterator[None]:
    """Undo what is done within, after the constraints that wait for a commit were asked."""
    try:
        with transaction.atomic():
            yield
            connection.check_constraints()
            transaction.set_rollback(True)
    finally:
        connection.run_on_commit.clear()


@pytest.fixture
def ids(
    customer: Customer,
    shop: dict[str, Plan],
    with_a_disk: Callable[[Customer], int],
    monkeypatch: pytest.MonkeyPatch,
) -> Known:
    """Give ids for each route's parameter: the customer's in many states, and another's."""
    monkeypatch.setattr("instances.api.views.console.read_console", lambda _: "text")
    Flag.objects.update(everyone=True)
    make_host()
    found: dict[str, list[Any]] = {name: [value] for name, value in SHARED_IDS.items()}
    running = running_instance(customer, label="running")
    offline = with_a_disk(customer)
    host = SimulatedHypervisor()
    work(host)
    customer.api.post(f"/linode/instances/{offline}/shutdown")
    work(host)
    for name, make in OWNED.items():
        found[name] = [make(customer)]
    theirs = OWNED["instance_id"](make_customer("stranger"))
    found["instance_id"] += [running, offline, theirs]
    return found


@pytest.fixture
def api(db: None, monkeypatch: pytest.MonkeyPatch) -> BaseSchema:
    """Give the document as the site serves it, with the site to send requests to."""
    # A request's end may close its connection, and the test's transaction with it.
    monkeypatch.setattr(
        connections["default"], "close_if_unusable_or_obsolete", lambda: None
    )
    return schemathesis.openapi.from_wsgi("/v4/openapi.json", get_wsgi_application())


def requests_of(operation: APIOperation) -> st.SearchStrategy[Case]:
    """Return right and wrong requests of an operation; some have nothing to be wrong."""
    found = [operation.as_strategy(generation_mode=GenerationMode.POSITIVE)]
    try:
        wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
        wrong.validate()
        found.append(wrong)
    except (InvalidSchema, hypothesis.errors.HypothesisException):
        pass
    return st.one_of(found)


def right_body(case: Case, known: Known) -> Known:
    """Return what each field may well be: known values, else the document's examples."""
    described = document()["paths"][case.path][case.method.lower()]["requestBody"]
    reference = described["content"]["application/json"]["schema"]["$ref"]
    shape = document()["components"]["schemas"][reference.rpartition("/")[2]]
    fields = shape["properties"]
    examples = {n: f["examples"] for n, f in fields.items() if "examples" in f}
    return examples | {n: known[n] for n in fields if n in known}


def mix(chance: Random, case: Case, ids: Known, known: Known) -> None:
    """Put real ids and right values in most places of a case that was made up.

    chance: not Hypothesis, which likes to draw again what it drew before.
    """
    for name in case.path_parameters or {}:
        case.path_parameters[name] = chance.choice(
            [*ids[name] * 3, chance.choice(ODD_IDS), case.path_parameters[name]]
        )
    for name in case.headers:
        if name in known and chance.random() < 0.7:
            case.headers[name] = chance.choice(known[name])
    if isinstance(case.body, dict) and chance.random() < 0.8:
        right = right_body(case, known)
        left_out = chance.sample(
            sorted(right), min(len(right), chance.choice([0, 0, 1]))
        )
        made = chance.sample(
            sorted(case.body), min(len(case.body), chance.choice([0, 1, 2]))
        )
        body = {n: chance.choice(v) for n, v in right.items() if n not in left_out}
        case.body = body | {name: case.body[name] for name in made}


@pytest.mark.django_db
def test_every_answer_is_one_that_the_document_tells_of(
    api: BaseSchema, customer: Customer, ids: Known
) -> None:
    expires = f"{timezone.now() + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}"
    known = KNOWN | {
        "expires": [expires],
        "reservation": [None, *ids["reservation_id"]],
    }
    reader = make_customer("reader", scopes="linodes:read_only account:read_only")
    tokens = [customer.api] * 8 + [reader.api, ApiClient("wrong"), ApiClient()]
    requests = [requests_of(result.ok()) for result in api.get_all_operations()]
    found, chance = Findings(), Random(SEED)  # noqa: S311 -- not for secrets

    def call(case: Case) -> None:
        mix(chance, case, ids, known)
        try:
            with undone():
                found.note(case, case.call(headers=chance.choice(tokens).headers))
        except Error as error:
            # What only a commit would have refused: 500 in service.
            found.add(case, error)

    settings = hypothesis.settings(
        max_examples=-(-CALLS // len(requests)),
        phases=[hypothesis.Phase.generate],
        derandomize=False,
        database=None,
    )
    # Requests without a choice are few: the others are made up again and again.
    while found.calls.total() < CALLS:
        for cases in requests:
            given = settings(hypothesis.given(cases)(call))
            hypothesis.seed(chance.getrandbits(64))(given)()
    print(  # noqa: T201 -- what `make fuzz` shows
        f"{found.calls.total()} calls, answers by status: {dict(found.calls)}; "
        f"{len(found.accepted)} of {len(requests)} operations answered 200"
    )
    assert not found.wrong, str(found)
    assert len(found.accepted) > len(requests) / 2
