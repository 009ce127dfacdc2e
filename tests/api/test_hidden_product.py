"""A product behind a shut flag is nothing that anybody can find: whole answers are compared.

Each address of the URL table is asked before there is a hidden product and after; creates,
and addresses with an id, with the ids of what is hidden and with ids that nobody has.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from flags import changes
from flags.availability import bucket_of
from flags.betas import enrol
from flags.changes import Why
from flags.models import Beta, Flag
from instances.models import Account, GpuQuota, Plan, RefusedDemand, RegionPrice
from inventory.models import GpuModel, Region
from tests.api.builders import ApiClient, Customer, make_customer
from tests.api.test_isolation import LISTS, parameters_of, routes
from tests.builders import (
    make_account,
    make_beta,
    make_flag,
    make_gpu_model,
    make_host,
    make_image,
    make_plan,
    make_region,
)

pytestmark = pytest.mark.django_db
FLAG = "h100"
WHY = Why("user:ann", "a test")
# What is hidden -> an id of as many characters that nothing has.
UNKNOWN = {
    "g9-h100-1": "g9-none-1",
    "g9-large": "g9-nones",
    "in-new": "in-non",
    "h100-beta": "none-beta",
}
# It counts the requests that this test makes.
OTHER_EACH_TIME = {"/gpucloud/tokens"}


@dataclass(frozen=True)
class Caller:
    """account: None of anonymous. instance: an id of its own, or of nobody."""

    name: str
    api: ApiClient
    account: Account | None
    instance: int


Open = Callable[[Flag, dict[str, Caller]], set[str]]


def _dark(flag: Flag, callers: dict[str, Caller]) -> set[str]:
    return {"enrolled"}


def _off(flag: Flag, callers: dict[str, Caller]) -> set[str]:
    flag.accounts.add(callers["customer"].account)
    Flag.objects.update(everyone=False, account_tags=["employee"], account_percent=100)
    return set()


def _account(flag: Flag, callers: dict[str, Caller]) -> set[str]:
    flag.accounts.add(callers["customer"].account)
    return {"enrolled", "customer"}


def _tag(flag: Flag, callers: dict[str, Caller]) -> set[str]:
    Flag.objects.update(account_tags=["employee"])
    return {"enrolled", "employee"}


def _percent(flag: Flag, callers: dict[str, Caller]) -> set[str]:
    buckets = {
        name: bucket_of(FLAG, each.account.pk)
        for name, each in callers.items()
        if each.account
    }
    percent = sorted(buckets.values())[1] + 1
    Flag.objects.update(account_percent=percent)
    return {"enrolled"} | {name for name in buckets if buckets[name] < percent}


def _everyone(flag: Flag, callers: dict[str, Caller]) -> set[str]:
    Flag.objects.update(everyone=True)
    return set(callers)


def _killed(flag: Flag, callers: dict[str, Caller]) -> set[str]:
    Flag.objects.update(everyone=True)
    changes.kill(flag.pk, WHY)
    return set()


STATES: tuple[Open, ...] = (
    *(_dark, _off, _account, _tag, _percent, _everyone, _killed),
)


@pytest.fixture
def callers(db: None, settings: Settings) -> dict[str, Caller]:
    """Give each kind of caller, and a shop with things that are for everyone."""
    settings.API_RATE_LIMIT = 0
    make_host(cards_per_node=(4, 4), cores_per_node=16, memory_mib=8192)
    make_image()
    make_plan("g6-plain", cards=0, memory_mib=128, position=1)
    make_plan("g1-gpu", position=2)
    of = {
        "customer": make_customer(),
        "enrolled": make_customer(account=make_account(tags=("employee",))),
        "employee": make_customer(account=make_account(tags=("employee",))),
        "staff": make_customer(),
    }
    staff = of["staff"].account.members.get()
    staff.is_staff = staff.is_superuser = True
    staff.save()
    made = {"anonymous": Caller("anonymous", ApiClient(), None, 1)}
    for name, customer in of.items():
        made[name] = Caller(name, customer.api, customer.account, _instance(customer))
    return made


def _instance(owner: Customer) -> int:
    order = {"type": "g6-plain", "region": "us-east", "image": "gpucloud/probe"}
    return int(owner.api.post("/linode/instances", order).json()["id"])


def hide(callers: dict[str, Caller]) -> Flag:
    """Have a region, a GPU model and plans behind a flag, with all that goes along."""
    flag = make_flag(FLAG)
    region = make_region("in-new", label="Mumbai", country="in", flag_name=FLAG)
    model = make_gpu_model("h100", "10de:2330")
    GpuModel.objects.filter(pk=model.pk).update(flag_name=FLAG)
    for where in (region, Region.objects.get(slug="us-east")):
        make_host(region=where, gpu_model=model)
    GpuQuota.objects.create(gpu_model=model, cards=8)
    # Behind its model's flag, and behind one of its own.
    make_plan("g9-h100-1", gpu_model=model, position=0)
    large = make_plan("g9-large", cards=2, flag_name=FLAG, position=1)
    prices = {"price_hourly": "2", "price_monthly": "900"}
    for plan in (large, Plan.objects.get(slug="g6-plain")):
        RegionPrice.objects.create(plan=plan, region=region, **prices)
    beta = make_beta("h100-beta", flag=flag, account_tags=["employee"])
    account = callers["enrolled"].account
    assert account is not None
    enrol(account, beta, "user:tester")
    return flag


def paths_for(caller: Caller) -> list[str]:
    """Return every address that can be read, each id being the caller's own or unknown."""
    known = {"instance_id": str(caller.instance), "region_id": "us-east"}
    known |= {"type_id": "g6-plain", "image_id": "gpucloud/probe"}
    with_ids = [
        "/" + re.sub(r"<\w+:(\w+)>", lambda m: known.get(m[1], "1"), route)
        for route, methods in routes()
        if "GET" in methods
    ]
    lists = [path for path in LISTS if not path.endswith("/")]
    return [*lists, *with_ids, "/openapi.json"]


Answers = dict[str, tuple[int, bytes, list[tuple[str, str]]]]


def answers(caller: Caller) -> Answers:
    """Return what each address answers: status, body, headers but the request's own id."""
    found = {}
    for path in paths_for(caller):
        if path not in OTHER_EACH_TIME:
            answer = caller.api.get(path)
            headers = {**answer.headers}
            headers.pop("X-Request-Id", None)
            found[path] = (answer.status_code, answer.content, sorted(headers.items()))
    return found


def asked_with_ids(caller: Caller, ids: Callable[[str], str]) -> list[tuple[Any, ...]]:
    """Return status, text and number of queries of all that names a type, region or beta.

    ids: the hidden id -> which to send. Its occurrences in the answer become the hidden's.
    """
    expires = f"{timezone.now() + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}"
    large, h100 = ids("g9-large"), ids("g9-h100-1")
    new, beta = ids("in-new"), ids("h100-beta")
    orders = [
        {"type": type_id, "region": region}
        for type_id, region in ((large, "us-east"), (h100, "us-east"), ("g1-gpu", new))
    ]
    requests: list[tuple[str, str, Any]] = [
        ("GET", f"/linode/types/{large}", None),
        ("GET", f"/linode/types/{h100}", None),
        ("GET", f"/regions/{new}", None),
        ("GET", f"/regions/{new}/availability", None),
        ("GET", f"/account/availability/{new}", None),
        ("GET", f"/gpucloud/inventory?region={new}", None),
        ("GET", f"/betas/{beta}", None),
        ("GET", f"/account/betas/{beta}", None),
        ("POST", "/account/betas", {"id": beta}),
        ("POST", f"/linode/instances/{caller.instance}/resize", {"type": large}),
        *(("POST", "/gpucloud/quotes", order) for order in orders),
        *(("POST", "/gpucloud/waitlist", order) for order in orders),
        *(
            ("POST", "/gpucloud/reservations", {**order, "expires": expires})
            for order in orders
        ),
        *(
            ("POST", "/linode/instances", {**order, "image": "gpucloud/probe"})
            for order in orders
        ),
        # A field is wrong besides: all errors are told at once.
        *(("POST", "/linode/instances", {**order, "image": "x"}) for order in orders),
    ]
    found: list[tuple[Any, ...]] = []
    for method, path, body in requests:
        with CaptureQueriesContext(connection) as queries:
            answer = caller.api.call(method, path, body)
        text = answer.content.decode()
        for hidden in UNKNOWN:
            path, text = (t.replace(ids(hidden), hidden) for t in (path, text))
        found.append((method, path, body, answer.status_code, text, len(queries)))
    return found


def without(queries: bool, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the rows less the body that was sent, and less `queries` if they may differ."""
    return [(*row[:2], *row[3 : len(row) - queries]) for row in rows]


def test_who_is_shut_out_finds_nothing_and_who_is_let_in_finds_it(
    callers: dict[str, Caller],
) -> None:
    before = {name: answers(caller) for name, caller in callers.items()}
    assert answers(callers["customer"]) == before["customer"]
    for state in STATES:
        # Each as if there had been none before it.
        begun = transaction.savepoint()
        let_in = state(hide(callers), callers)
        for name, caller in callers.items():
            compare(caller, before[name], state, is_let_in=name in let_in)
        refused = RefusedDemand.objects.filter(reason=RefusedDemand.Reason.KILLED)
        names = set(refused.values_list("flag_name", flat=True))
        assert names == ({FLAG} if state is _killed else set())
        transaction.savepoint_rollback(begun)


def compare(caller: Caller, before: Answers, state: Open, *, is_let_in: bool) -> None:
    about = f"{caller.name}, {state.__name__}"
    after = answers(caller)
    differing = {path for path in after if after[path] != before[path]}
    if is_let_in:
        listed = caller.api.get("/linode/types").content.decode()
        assert all(f'"{slug}"' in listed for slug in ("g9-h100-1", "g9-large")), about
        assert {"/linode/types", "/regions", "/gpucloud/gpu-models"} <= differing
        return
    if caller.name == "employee" and state not in (_off, _killed):
        # The beta is how employees come to know of it.
        assert differing == {"/betas"}, about
        return
    assert differing == set(), about
    hidden = asked_with_ids(caller, lambda hidden: hidden)
    unknown = asked_with_ids(caller, lambda hidden: UNKNOWN[hidden])
    # Who had it until the kill knows of it; that it is refused to them is counted.
    is_counted = state is _killed and caller.account is not None
    assert without(is_counted, hidden) == without(is_counted, unknown), about
    assert {row[3] for row in hidden} <= {400, 401, 404}, about


def test_admin_shows_the_hidden_to_staff_alone(callers: dict[str, Caller]) -> None:
    hide(callers)
    pages = ("/admin/", "/admin/launch/", "/admin/flags/flag/", "/admin/flags/beta/")
    for name, caller in callers.items():
        browser = Client()
        if caller.account is not None:
            browser.force_login(caller.account.members.get())
        found = [browser.get(page) for page in pages]
        if name == "staff":
            assert [page.status_code for page in found] == [200] * 4
            assert "g9-large" in found[1].content.decode()
        else:
            assert [page["Location"].partition("?")[0] for page in found] == [
                "/admin/login/"
            ] * 4


def test_parameters_that_could_name_it_are_all_asked() -> None:
    shared = {name for route, _ in routes() for name in parameters_of(route)}
    assert {"type_id", "region_id", "beta_id", "enrolled_beta_id"} <= shared
    assert not Beta.objects.filter(slug__in=UNKNOWN.values()).exists()
