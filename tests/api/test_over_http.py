"""What only a real server shows: paths as they are sent, and requests at the same time."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from django.db import connection

from instances.models import Instance, Job, Plan
from inventory.models import CardClaim
from tests.api.builders import ORDER
from tests.builders import make_account, make_flag, make_token

pytestmark = pytest.mark.django_db(transaction=True)


class Caller:
    """One customer's requests, each on a connection of its own."""

    def __init__(self, url: str, token: str) -> None:
        self._url = f"{url}/v4"
        self._headers = {"Authorization": f"Bearer {token}", "Connection": "close"}

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {**self._headers, **options.pop("headers", {})}
        return requests.request(
            method,
            f"{self._url}{path}",
            headers=headers,
            timeout=30,
            allow_redirects=False,
            **options,
        )

    def create(self, **headers: str) -> requests.Response:
        return self.call("POST", "/linode/instances", json=ORDER, headers=headers)


@pytest.fixture
def caller(
    live_server: Any, shop: dict[str, Plan], monkeypatch: pytest.MonkeyPatch
) -> Caller:
    # A connection that outlives its request would keep the test database from going.
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)
    account = make_account()
    make_flag(accounts=(account,))
    return Caller(live_server.url, make_token(account))


@pytest.mark.parametrize("image", ["gpucloud/probe", "gpucloud%2Fprobe"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_an_images_slash_may_be_encoded(caller: Caller, image: str, slash: str) -> None:
    response = caller.call("GET", f"/images/{image}{slash}")
    assert (response.status_code, response.json()["id"]) == (200, "gpucloud/probe")


def test_a_post_to_a_path_with_a_slash_is_not_redirected(caller: Caller) -> None:
    response = caller.call("POST", "/linode/instances/", json=ORDER)
    assert (response.status_code, Instance.objects.count()) == (200, 1)


def test_a_key_sent_many_times_at_once_makes_one_instance(caller: Caller) -> None:
    with ThreadPoolExecutor(6) as pool:
        sent = [
            pool.submit(caller.create, **{"Idempotency-Key": "k"}) for _ in range(6)
        ]
        answers = [future.result() for future in sent]
    assert [a.status_code for a in answers] == [200] * 6
    assert len({a.json()["id"] for a in answers}) == 1
    assert (Instance.objects.count(), Job.objects.count()) == (1, 1)
    assert CardClaim.objects.count() == 1


def test_ten_customers_of_four_cards(caller: Caller) -> None:
    with ThreadPoolExecutor(10) as pool:
        answers = [f.result() for f in [pool.submit(caller.create) for _ in range(10)]]
    assert Counter(a.status_code for a in answers) == {200: 4, 400: 6}
    assert {a.text for a in answers if a.status_code == 400} == {
        '{"errors":[{"reason":"No GPU capacity is available in us-east for '
        'g1-gpu-rtx6000-1 right now.","field":"region"}]}'
    }
    assert CardClaim.objects.filter(released_at=None).count() == 4
    assert Instance.objects.count() == 4


def test_deletes_at_the_same_time_delete_once(caller: Caller) -> None:
    path = f"/linode/instances/{caller.create().json()['id']}"
    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(caller.call, "DELETE", path) for _ in range(4)]
        answers = [future.result() for future in sent]
    assert sorted(a.text for a in answers) == [
        *['{"errors":[{"reason":"Linode busy."}]}'] * 3,
        "{}",
    ]
    assert Job.objects.filter(kind="delete").count() == 1
