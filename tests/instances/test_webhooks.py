"""Webhooks: each event is delivered, signed, at least once, and no receiver harms us."""

import base64
import hashlib
import hmac
import http.server
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from instances import outbound, retention, tasks, webhooks
from instances.actions import webhooks as actions
from instances.actions.delete import delete
from instances.actions.launch import launch
from instances.choices import EventAction, EventStatus
from instances.jobs import runner
from instances.models import Account, Event, Job, Webhook, WebhookDelivery
from instances.webhook_secrets import opened
from tests.builders import make_account, make_host, make_order
from tests.simulated import SimulatedHypervisor

pytestmark = pytest.mark.django_db


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent; answers with the first of `answers`, then with 200."""

    received: list[tuple[dict[str, str], bytes]] = []
    answers: list[int] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        Receiver.received.append((headers, body))
        self.send_response(Receiver.answers.pop(0) if Receiver.answers else 200)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def receiver(settings: Settings) -> Iterator[str]:
    settings.WEBHOOKS_PRIVATE = True
    Receiver.received, Receiver.answers = [], []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook?key=1"
    server.shutdown()
    server.server_close()


@pytest.fixture
def account(db: None) -> Account:
    return make_account()


def make_webhook(account: Account, url: str = "", *actions_: str) -> Webhook:
    url = url or "https://ops.example.net"
    return actions.create(account, url, actions_, "user:tester")[0]


def make_event(account: Account, **fields: Any) -> Event:
    return Event.objects.create(
        **{
            "account": account,
            "action": EventAction.LINODE_BOOT,
            "status": EventStatus.SCHEDULED,
            "entity_id": 1,
            "entity_label": "box",
            **fields,
        }
    )


def due_again() -> None:
    """Let every pause be over."""
    WebhookDelivery.objects.filter(state="pending").update(due_at=Now())
    Webhook.objects.update(not_before=Now(), busy_until=Now())


def states() -> list[tuple[str, int]]:
    return list(WebhookDelivery.objects.order_by("pk").values_list("state", "attempts"))


# What is to be delivered.


def test_each_status_of_an_event_is_a_delivery(account: Account) -> None:
    hook = make_webhook(account)
    event = make_event(account)
    rows = Event.objects.filter(pk=event.pk)
    rows.update(percent_complete=50)
    rows.update(status=EventStatus.STARTED, started_at=Now())
    rows.update(status=EventStatus.STARTED, seen=True)
    rows.update(status=EventStatus.FINISHED, finished_at=Now())

    made = WebhookDelivery.objects.order_by("pk")

    assert [d.event["status"] for d in made] == ["scheduled", "started", "finished"]
    assert {d.webhook for d in made} == {hook}
    assert len({d.uuid for d in made}) == 3


def test_a_launch_and_a_delete_miss_no_event(account: Account) -> None:
    make_host()
    make_webhook(account)
    host = SimulatedHypervisor()
    instance = launch(make_order(account))
    runner.run(Job.objects.get(instance=instance).pk, lambda _: host)  # type: ignore[arg-type,return-value]
    runner.run(delete(instance, "user:t", "t").pk, lambda _: host)  # type: ignore[arg-type,return-value]

    made = WebhookDelivery.objects.order_by("pk")

    assert [(d.event["action"], d.event["status"]) for d in made] == [
        ("linode_create", "scheduled"),
        ("linode_create", "started"),
        ("linode_create", "finished"),
        ("linode_boot", "started"),
        ("linode_boot", "finished"),
        ("linode_delete", "scheduled"),
        ("linode_delete", "started"),
        ("linode_delete", "finished"),
    ]


def test_only_who_wants_the_event_and_may_have_it_gets_it(account: Account) -> None:
    everything = make_webhook(account)
    boots = make_webhook(account, "", "linode_boot", "linode_reboot")
    make_webhook(account, "", "linode_delete")
    off = make_webhook(account)
    actions.change(off, {"status": "disabled"})
    make_webhook(make_account())

    make_event(account)

    wanted = WebhookDelivery.objects.values_list("webhook", flat=True)
    assert set(wanted) == {everything.pk, boots.pk}


def test_an_event_that_is_rolled_back_is_not_delivered(account: Account) -> None:
    make_webhook(account)

    with transaction.atomic():
        make_event(account)
        transaction.set_rollback(True)

    assert states() == []


@pytest.mark.django_db(transaction=True)
def test_an_event_beside_the_delete_of_a_webhook_harms_neither() -> None:
    account = make_account()
    hook = make_webhook(account)
    deleting, made = threading.Event(), threading.Event()
    errors: list[Exception] = []

    def make_one() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
            deleting.wait(30)
            make_event(account)
        except Exception as error:  # noqa: BLE001 -- the test looks at it
            errors.append(error)
        finally:
            connection.close()
            made.set()

    thread = threading.Thread(target=make_one)
    thread.start()
    with transaction.atomic():
        actions.delete(hook)
        deleting.set()
        _wait_for_a_waiter()
        assert not made.is_set()
    thread.join(30)

    assert errors == []
    assert (Event.objects.count(), states()) == (1, [])


def _wait_for_a_waiter() -> None:
    """Wait until a session waits for a lock of this one."""
    waiting = threading.Event()
    for _ in range(3000):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND "
                "pg_backend_pid() = ANY (pg_blocking_pids(pid))"
            )
            if cursor.fetchone()[0]:
                return
        waiting.wait(0.01)
    raise AssertionError("nobody waits")


# How it is delivered.


def test_a_delivery_is_signed_and_says_what_the_event_said(
    account: Account, receiver: str
) -> None:
    hook = make_webhook(account, receiver)
    event = make_event(account, message="why")
    Event.objects.update(status=EventStatus.FAILED)

    assert webhooks.take_due() == [hook.pk]
    assert tasks.send_to_webhook(hook.pk) == 2

    (headers, body), _ = Receiver.received
    sent = json.loads(body)
    assert (sent["type"], sent["webhook_id"]) == ("linode_boot", hook.pk)
    assert sent["event"]["id"] == event.pk
    assert (sent["event"]["status"], sent["event"]["message"]) == ("scheduled", "why")
    assert sent["event"]["created"] == event.created_at.strftime("%Y-%m-%dT%H:%M:%S")
    assert sent["event"]["entity"] == {
        "id": 1,
        "label": "box",
        "type": "linode",
        "url": "/v4/linode/instances/1",
    }
    first = WebhookDelivery.objects.earliest("pk")
    assert headers["webhook-id"] == str(first.uuid)
    assert headers["content-type"] == "application/json"
    stamp = int(headers["webhook-timestamp"])
    assert first.created_at.timestamp() - 1 < stamp <= timezone.now().timestamp()
    # As docs/api.md tells customers to.
    key = base64.b64decode(opened(hook.sealed_secret).removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{stamp}.".encode() + body
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert states() == [("delivered", 1)] * 2
    assert webhooks.take_due() == []


def test_what_is_not_taken_is_tried_again_after_growing_pauses(
    account: Account, receiver: str
) -> None:
    hook = make_webhook(account, receiver)
    make_event(account)
    Receiver.answers = [500, 302, 404]
    pauses = []
    for _ in range(3):
        webhooks.send_due(hook.pk)
        row = WebhookDelivery.objects.get()
        hook.refresh_from_db()
        pauses.append(round((row.due_at - timezone.now()).total_seconds(), -1))
        assert hook.not_before > timezone.now()
        assert webhooks.take_due() == []
        due_again()
        assert webhooks.take_due() == [hook.pk]
    assert row.problem == "The answer was 404, and must be 200 to 299."
    assert (row.http_status, hook.failures) == (404, 3)

    assert webhooks.send_due(hook.pk) == 1

    # Never to the address that the redirect named, and always with one id.
    assert len({headers["webhook-id"] for headers, _ in Receiver.received}) == 1
    assert len({body for _, body in Receiver.received}) == 1
    assert pauses == [10, 20, 40]
    hook.refresh_from_db()
    assert (states(), hook.failures) == ([("delivered", 4)], 0)
    assert webhooks.pause_after(10**6) == timedelta(hours=1)


def test_a_worker_that_died_in_mid_delivery_leaves_it_to_the_next(
    account: Account, receiver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = make_webhook(account, receiver)
    make_event(account)

    def die(*_: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(webhooks, "_record", die)
        with pytest.raises(SystemExit):
            webhooks.send_due(hook.pk)

    # It was received, but nobody wrote so; while the worker may live, it is left alone.
    assert states() == [("pending", 1)]
    assert webhooks.take_due() == []
    assert webhooks.send_due(hook.pk) == 0
    due_again()
    assert webhooks.take_due() == [hook.pk]
    assert webhooks.send_due(hook.pk) == 1
    first, second = (headers["webhook-id"] for headers, _ in Receiver.received)
    assert first == second
    assert states() == [("delivered", 2)]


def test_a_late_worker_writes_nothing_over_the_next_ones_outcome(
    account: Account, receiver: str
) -> None:
    hook = make_webhook(account, receiver)
    make_event(account)
    late = webhooks._begin(hook.pk)
    assert late is not None
    too_late = webhooks.Outcome(None, "It took too long.")
    for answer, outcome in ((500, ("pending", 2)), (200, ("delivered", 3))):
        due_again()
        Receiver.answers = [answer]
        webhooks.send_due(hook.pk)
        hook.refresh_from_db()
        before = hook.failures

        webhooks._record(late, too_late)

        hook.refresh_from_db()
        assert (states(), hook.failures) == ([outcome], before)


def test_one_that_is_never_taken_does_not_keep_the_others(
    account: Account, receiver: str
) -> None:
    hook = make_webhook(account, receiver)
    poison = make_event(account)
    Receiver.answers = [400]
    webhooks.send_due(hook.pk)
    make_event(account)
    due_again()
    Receiver.answers = [200, 400]

    assert webhooks.send_due(hook.pk) == 1

    assert states() == [("pending", 2), ("delivered", 1)]
    assert WebhookDelivery.objects.get(state="pending").event["id"] == poison.pk


def test_many_failures_in_a_row_disable_it_and_say_so(
    account: Account, receiver: str
) -> None:
    hook = make_webhook(account, receiver)
    other = make_webhook(account, "https://other.example.net")
    make_event(account)
    Webhook.objects.filter(pk=hook.pk).update(failures=webhooks.MOST_FAILURES - 1)
    Receiver.answers = [503]

    webhooks.send_due(hook.pk)

    hook.refresh_from_db()
    assert hook.disabled_at is not None
    told = Event.objects.latest("pk")
    assert (told.action, told.status, told.entity_type, told.entity_id) == (
        "gpucloud_webhook_disabled",
        "notification",
        "webhook",
        hook.pk,
    )
    assert told.message == (
        "20 deliveries failed in a row. The answer was 503, and must be 200 to 299. "
        "Enable the webhook again when that is repaired."
    )
    # The others are told; it gets nothing, and nothing new.
    assert other.deliveries.filter(event__id=told.pk).count() == 1
    due_again()
    assert hook.pk not in webhooks.take_due()
    assert webhooks.send_due(hook.pk) == 0
    make_event(account)
    assert hook.deliveries.count() == 1

    actions.change(hook, {"status": "enabled"})
    assert webhooks.send_due(hook.pk) == 1


def test_a_delivery_is_given_up_at_its_deadline(
    account: Account, settings: Settings
) -> None:
    make_webhook(account)
    make_event(account)
    old = WebhookDelivery.objects.get()
    make_event(account)
    past = timezone.now() - timedelta(seconds=settings.WEBHOOK_DEADLINE_S + 1)
    WebhookDelivery.objects.filter(pk=old.pk).update(created_at=past)

    tasks.enqueue_due_jobs()

    assert states() == [("failed", 0), ("pending", 0)]
    long_ago = timezone.now() - timedelta(days=31)
    WebhookDelivery.objects.filter(pk=old.pk).update(ended_at=long_ago)
    assert retention.prune()["WebhookDelivery"] == 1


def test_the_watch_enqueues_each_due_webhook_once_and_few_at_a_time(
    account: Account, settings: Settings
) -> None:
    settings.WEBHOOKS_AT_ONCE = 2
    hooks = [make_webhook(account).pk for _ in range(3)]
    make_event(account)

    tasks.look_after_fleet()
    tasks.look_after_fleet()

    queued = [q.task for q in OrmQ.objects.all()]
    # UPDATE ... RETURNING gives them in no order.
    assert sorted((task["func"], task["args"]) for task in queued) == [
        ("instances.tasks.send_to_webhook", (hooks[0],)),
        ("instances.tasks.send_to_webhook", (hooks[1],)),
    ]
    # Whoever was served last comes last.
    Webhook.objects.filter(pk=hooks[0]).update(busy_until=Now())
    assert webhooks.take_due() == [hooks[2]]


def test_a_secret_that_cannot_be_read_any_more_is_told(
    account: Account, receiver: str, settings: Settings
) -> None:
    hook = make_webhook(account, receiver)
    make_event(account)
    make_event(account)
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another" * 10

    assert webhooks.send_due(hook.pk) == 0

    assert WebhookDelivery.objects.earliest("pk").problem == (
        "The secret cannot be read any more: make a new webhook."
    )
    due_again()
    settings.SECRET_KEY_FALLBACKS = [old]
    assert webhooks.send_due(hook.pk) == 2


# Where it is delivered.


def test_a_name_that_leads_inside_is_not_asked(
    account: Account, receiver: str, settings: Settings
) -> None:
    settings.WEBHOOKS_PRIVATE = False
    hook = make_webhook(account, receiver)
    make_event(account)

    assert webhooks.send_due(hook.pk) == 0

    assert Receiver.received == []
    assert WebhookDelivery.objects.get().problem == (
        "127.0.0.1 is inside a private network."
    )


def test_the_address_that_was_checked_is_the_one_that_is_asked(
    account: Account,
    receiver: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that leads outside when it is checked, and inside when it is asked again."""
    settings.WEBHOOKS_PRIVATE = False
    port = receiver.split(":")[2].split("/")[0]
    asked: list[str] = []

    def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        inside = "127.0.0.1" if len(asked) == 1 else "10.0.0.1"
        return [(2, 1, 6, "", (inside, int(port)))]

    monkeypatch.setattr(outbound.socket, "getaddrinfo", resolve)
    monkeypatch.setattr(outbound, "is_public", lambda a: a == "127.0.0.1")
    connect = outbound.socket.create_connection
    connected_to: list[Any] = []

    def connecting(address: Any, *args: Any) -> Any:
        connected_to.append(address[0])
        # Of an address, unlike of a name, this resolves nothing.
        monkeypatch.undo()
        return connect(address, *args)

    monkeypatch.setattr(outbound.socket, "create_connection", connecting)
    hook = make_webhook(account, f"http://rebinding.example.net:{port}/")
    make_event(account)

    assert webhooks.send_due(hook.pk) == 1

    assert (asked, connected_to) == (["rebinding.example.net"], ["127.0.0.1"])
    ((headers, _),) = Receiver.received
    assert headers["host"] == f"rebinding.example.net:{port}"


def test_a_receiver_that_is_away_or_silent_is_a_failure(
    account: Account, settings: Settings
) -> None:
    settings.WEBHOOKS_PRIVATE = True
    settings.WEBHOOK_TIMEOUT_S = 0.2
    silent = outbound.socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    hook = make_webhook(account, f"http://127.0.0.1:{port}/")
    make_event(account)

    assert webhooks.send_due(hook.pk) == 0
    assert WebhookDelivery.objects.get().problem.startswith("There was no answer")

    silent.close()
    due_again()
    assert webhooks.send_due(hook.pk) == 0
    assert "cannot be reached" in WebhookDelivery.objects.get().problem
