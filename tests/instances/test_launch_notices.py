"""Who asked to be told of a launch is told once, however it is made and whoever dies."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from flags import changes
from flags.betas import enrol
from flags.changes import Why
from flags.models import Flag
from instances import launch_notices, tasks
from instances.actions import webhooks
from instances.actions.waitlist import join
from instances.event_document import event_json
from instances.models import (
    Account,
    Event,
    LaunchNotice,
    Plan,
    Webhook,
    WebhookDelivery,
)
from inventory.models import Region
from tests.builders import (
    GPU_FLAG,
    make_account,
    make_beta,
    make_flag,
    make_plan,
    make_region,
)

pytestmark = pytest.mark.django_db
WHY = Why("user:ann", "it is ready")
ACTION = "gpu_product_launched"


@pytest.fixture
def flag(db: None) -> Flag:
    """Give a flag with two plans in a region, open for employees."""
    make_region()
    make_plan("gpu-1", flag_name=GPU_FLAG, position=1)
    make_plan("gpu-2", cards=2, flag_name=GPU_FLAG, position=2)
    return make_flag(tags=("employee",))


def member(flag: Flag, name: str = "tester") -> Account:
    """Return an account in a beta of the flag."""
    account = make_account(name)
    beta = flag.betas.first() or make_beta(flag=flag)
    enrol(account, beta, "user:tester")
    return account


def hook(account: Account, *actions: str) -> Webhook:
    url = "https://ops.example.net"
    return webhooks.create(account, url, actions, "user:tester")[0]


def open_to_all(flag: Flag, **changed: object) -> None:
    changes.change(flag.pk, {"everyone": True, **changed}, WHY)


def told() -> list[str]:
    events = Event.objects.filter(action=ACTION).order_by("account__name")
    return list(events.values_list("account__name", flat=True))


def gates_are_held() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
            "AND pid = pg_backend_pid() AND mode = 'ShareLock'"
        )
        return cursor.fetchone() == (1,)


def test_those_who_asked_are_told_and_nobody_else(flag: Flag) -> None:
    tester = member(flag)
    waits = make_account("waits", tags=("employee",))
    join(waits, "gpu-2", "us-east", "user:w")
    asked = make_account("asked")
    hook(asked, ACTION, "linode_boot")
    everything = hook(tester)
    # All that happens to it, and nothing of what happens elsewhere.
    hook(make_account("listens"))
    hook(make_account("other"), "linode_boot")
    gone = hook(make_account("gone"), ACTION)
    webhooks.change(gone, {"status": "disabled"})
    left = member(flag, "left")
    flag.betas.get().enrolments.filter(account=left).delete()
    assert launch_notices.count_askers(flag) == 3

    open_to_all(flag)
    assert told() == []
    tasks.look_after_fleet()

    assert told() == ["asked", "tester", "waits"]
    event = Event.objects.get(action=ACTION, account=tester)
    document = event_json(event)
    assert document["message"] == "For everyone now: gpu-1, gpu-2."
    assert document["entity"] == {
        "id": Plan.objects.get(slug="gpu-1").pk,
        "label": "gpu-1",
        "type": "type",
        "url": "/v4/linode/types/gpu-1",
    }
    assert document["status"] == "notification"
    sent = WebhookDelivery.objects.filter(event__action=ACTION)
    assert {d.webhook_id for d in sent} == {
        everything.pk,
        Webhook.objects.get(account=asked).pk,
    }
    assert launch_notices.count_askers(flag) == 0


def test_each_account_is_told_once_for_good(flag: Flag) -> None:
    member(flag)
    for _ in range(2):
        open_to_all(flag)
        assert launch_notices.tell_launched() in (0, 1)
        assert launch_notices.tell_launched() == 0
        changes.change(flag.pk, {"everyone": None}, WHY)
    late = member(flag, "late")

    open_to_all(flag)

    assert launch_notices.tell_launched() == 1
    assert told() == [late.name, "tester"]


def test_a_death_amid_the_telling_tells_nobody_twice(
    flag: Flag, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        member(flag, name)
    open_to_all(flag)
    tell, seen = launch_notices._tell, []

    def dies(notice: LaunchNotice, offers: list[launch_notices.Offer]) -> bool:
        # Whoever kills it waits, so that nobody is told afterwards.
        assert gates_are_held()
        done = tell(notice, offers)
        seen.append(notice.account.name)
        if len(seen) == 2:
            raise SystemExit
        return done

    monkeypatch.setattr(launch_notices, "_tell", dies)
    monkeypatch.setattr(launch_notices, "_AT_ONCE", 2)
    with pytest.raises(SystemExit):
        launch_notices.tell_launched()
    assert told() == []

    assert (launch_notices.tell_launched(), launch_notices.tell_launched()) == (2, 1)

    assert told() == ["a", "b", "c"]


def test_a_planned_and_an_approved_launch_tell_too(
    flag: Flag, settings: Settings
) -> None:
    member(flag)
    due = timezone.now() - timedelta(days=1)
    changes.change(flag.pk, {"everyone": True}, WHY, due)
    tasks.look_after_fleet()
    assert told() == ["tester"]
    changes.change(flag.pk, {"everyone": None}, WHY)
    member(flag, "second")
    settings.FLAG_CHANGES_NEED_TWO = True
    proposal = changes.change(flag.pk, {"everyone": True}, WHY)
    tasks.look_after_fleet()
    assert told() == ["tester"]

    changes.approve(proposal.pk, "user:bob")
    tasks.look_after_fleet()

    assert told() == ["second", "tester"]


@pytest.mark.parametrize("shut", ["kill", "change"])
def test_what_is_shut_again_is_told_once_it_is_open(flag: Flag, shut: str) -> None:
    member(flag)
    open_to_all(flag)
    if shut == "kill":
        changes.kill(flag.pk, WHY)
    else:
        changes.change(flag.pk, {"everyone": None}, WHY)
    assert launch_notices.tell_launched() == 0

    if shut == "kill":
        changes.take_back(flag.pk, WHY)
    else:
        open_to_all(flag)

    assert launch_notices.tell_launched() == 1
    # To change something else of a launched flag is no launch.
    LaunchNotice.objects.all().delete()
    changes.change(flag.pk, {"note": "launched"}, WHY)
    assert not LaunchNotice.objects.exists()


def test_what_another_flag_hides_is_not_told(flag: Flag) -> None:
    make_flag("asia", tags=("employee",))
    make_region("ap-west", flag_name="asia")
    Region.objects.filter(slug="us-east").update(flag_name="asia")
    member(flag)
    employee = make_account("employee", tags=("employee",))
    enrol(employee, flag.betas.get(), "user:tester")
    open_to_all(flag)
    assert (launch_notices.tell_launched(), launch_notices.tell_launched()) == (1, 0)
    assert told() == ["employee"]

    changes.change(Flag.objects.get(name="asia").pk, {"everyone": True}, WHY)
    LaunchNotice.objects.update(not_before=Now())
    assert launch_notices.tell_launched() == 1

    assert told() == ["employee", "tester"]


def test_a_region_is_told_as_a_region(flag: Flag) -> None:
    changes.change(flag.pk, {"everyone": True}, WHY)
    region = make_region("ap-west", flag_name="asia")
    asia = make_flag("asia")
    member(asia)

    open_to_all(asia)
    launch_notices.tell_launched()

    document = event_json(Event.objects.get(action=ACTION))
    assert document["message"] == "For everyone now: ap-west."
    assert document["entity"]["id"] == region.pk
    assert document["entity"]["url"] == "/v4/regions/ap-west"


def test_to_look_costs_a_query_while_nobody_waits(
    flag: Flag, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    member(flag)
    open_to_all(flag)
    launch_notices.tell_launched()

    with django_assert_num_queries(1):
        launch_notices.tell_launched()
