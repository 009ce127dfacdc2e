"""Launch and delete: one transaction, once per key, refused with nothing half made."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test import override_settings
from django.utils import timezone
from django_q.models import OrmQ

from flags import changes
from flags.changes import Why
from instances.actions.delete import delete
from instances.actions.launch import LaunchOrder, launch
from instances.exceptions import (
    IdempotencyConflict,
    InstanceBusy,
    InvalidRequest,
    NoCapacity,
)
from instances.models import Event, Instance, Job, JobStep
from instances.placement import NumaPolicy
from instances.selectors import spec_of
from inventory.alerts import Subject, raise_alert
from inventory.card_actions import quarantine
from inventory.choices import AlertClass, HostConnection, HostPolicy
from inventory.ledger import Actor, refresh_shape
from inventory.models import Card, CardClaim, CardEvent, Host, NodeClaim, Region
from inventory.shape import shape_of
from inventory.snapshots import snapshots_of
from tests.builders import (
    GPU_FLAG,
    make_account,
    make_flag,
    make_host,
    make_image,
    make_order,
    make_plan,
    make_region,
)


def counts() -> dict[str, int]:
    models = (Instance, Job, JobStep, Event, CardClaim, NodeClaim, CardEvent, OrmQ)
    return {model.__name__: model.objects.count() for model in models}


@pytest.mark.django_db
def test_launch_writes_claims_ledger_instance_job_and_task_together() -> None:
    host = make_host()

    instance = launch(make_order())

    claim = CardClaim.objects.get(released_at=None)
    job = Job.objects.get()
    assert claim.consumer == instance.uuid
    assert claim.card.host == host
    assert CardEvent.objects.filter(kind="claimed", claim=claim).count() == 1
    assert (job.kind, job.state, job.instance) == ("launch", "queued", instance)
    assert [step.name for step in job.steps.all()] == [
        "hold_claims",
        "ensure_image",
        "create_disk",
        "write_seed",
        "define_domain",
        "start_domain",
        "observe_running",
        "verify_claims",
    ]
    event = Event.objects.get()
    assert (event.action, event.status, event.entity_id, event.username) == (
        "linode_create",
        "scheduled",
        instance.pk,
        "tester",
    )
    assert OrmQ.objects.count() == 1
    assert instance.label == f"linode{instance.pk}"


@pytest.mark.django_db
def test_hugepages_and_spread_of_a_plan_reach_the_claims_and_the_domain() -> None:
    host = make_host(cards_per_node=(2, 2), cores_per_node=4)
    host.nodes.update(hugepages={"2048": 128})
    with transaction.atomic():
        refresh_shape(host)
    plan = make_plan(
        cards=2,
        vcpus=4,
        memory_mib=512,
        numa_policy=NumaPolicy.SPREAD,
        numa_nodes=2,
        hugepage_kib=2048,
    )

    instance = launch(make_order(plan=plan.slug))

    claims = NodeClaim.objects.order_by("numa_node__number")
    assert [(c.memory_mib, c.hugepage_kib, c.vcpus) for c in claims] == [
        (256, 2048, 2),
        (256, 2048, 2),
    ]
    spec = spec_of(instance)
    assert spec is not None
    assert (spec.hugepage_kib, [len(c.cards) for c in spec.cells]) == (2048, [1, 1])
    host.refresh_from_db()
    assert host.free_shape == "rtx6000=1 c2x1 m1152 g1|rtx6000=1 c2x1 m1152 g1"
    with pytest.raises(NoCapacity):
        launch(make_order(plan=plan.slug))


@pytest.mark.django_db
@override_settings(PLAIN_PLANS_ON_GPU_HOSTS="never")
def test_plain_plan_is_kept_off_gpu_hosts_by_the_setting() -> None:
    make_host()
    order = make_order(plan=make_plan(cards=0).slug)

    with pytest.raises(NoCapacity) as caught:
        launch(order)

    assert str(caught.value.no_fit) == "1 host: GPU host, kept for plans with cards"
    make_host(cards_per_node=(0,))
    launch(order)


@pytest.mark.django_db
def test_every_wrong_field_is_named_and_nothing_is_made() -> None:
    make_host()
    order = make_order(plan="nope", region="mars", image="none", label="a b")
    before = counts()

    with pytest.raises(InvalidRequest) as caught:
        launch(order)

    assert [field for field, _ in caught.value.errors] == [
        "type",
        "region",
        "image",
        "label",
    ]
    assert caught.value.errors[:2] == [
        ("type", "A valid plan type by that ID was not found"),
        ("region", "region is not valid"),
    ]
    assert counts() == before


@pytest.mark.django_db
def test_plan_behind_a_shut_flag_is_refused_like_an_unknown_one() -> None:
    make_host()
    plan = make_plan(flag_name=GPU_FLAG)
    account = make_account()
    before = counts()

    with pytest.raises(InvalidRequest) as shut:
        launch(make_order(account, plan=plan.slug))
    with pytest.raises(InvalidRequest) as unknown:
        launch(make_order(account, plan="no-such-plan"))

    assert shut.value.errors == unknown.value.errors
    assert counts() == before
    make_flag(accounts=(account,))
    launch(make_order(account, plan=plan.slug))


@pytest.mark.django_db
def test_no_capacity_leaves_nothing_and_keeps_the_reasons_for_staff() -> None:
    make_host("gpu1", cards_per_node=(1, 0))
    order = make_order(plan=make_plan("big", cards=4).slug)
    before = counts()

    with pytest.raises(NoCapacity) as caught:
        launch(order)

    assert caught.value.public_message == (
        "No GPU capacity is available in us-east for big right now."
    )
    assert str(caught.value.no_fit) == "1 host: 1 of 4 cards free"
    assert counts() == before


_ACTOR = Actor("user:tester", "a test")


def _alert(subject: Subject) -> object:
    return raise_alert(subject, AlertClass.PREVENTS_CLAIMS, "test", "fault", "a fault")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "closed",
    [
        lambda: Host.objects.update(policy=HostPolicy.DRAINING),
        lambda: Host.objects.update(connection=HostConnection.UNKNOWN),
        lambda: Host.objects.update(last_seen_at=timezone.now() - timedelta(hours=1)),
        lambda: [quarantine(c.pk, _ACTOR) for c in Card.objects.all()],
        lambda: [_alert(Subject(card=card)) for card in Card.objects.all()],
        lambda: _alert(Subject(host=Host.objects.get())),
        lambda: _alert(Subject(region=Region.objects.get())),
    ],
)
def test_host_that_does_not_accept_is_not_used(closed: Callable[[], object]) -> None:
    host = make_host()
    closed()
    Host.objects.update(free_shape=shape_of(snapshots_of([host])[0]))

    with pytest.raises(NoCapacity):
        launch(make_order())


@pytest.mark.django_db
def test_stale_search_key_does_not_give_a_taken_card() -> None:
    """The key only finds the host; what is free is read under the lock."""
    host = make_host(cards_per_node=(1,))
    key = host.free_shape
    launch(make_order())
    Host.objects.update(free_shape=key)

    with pytest.raises(NoCapacity):
        launch(make_order())

    assert CardClaim.objects.count() == 1


@pytest.mark.django_db
def test_label_must_be_unique_among_the_accounts_machines() -> None:
    make_host()
    account = make_account()
    launch(make_order(account, label="render-1"))

    with pytest.raises(InvalidRequest) as caught:
        launch(make_order(account, label="render-1"))

    assert caught.value.errors == [
        ("label", "Label must be unique among your linodes"),
    ]
    launch(make_order(label="render-1"))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "label",
    ["ab", "a" * 65, "-abc", "abc-", "a--b", "a_.b", "a b", "a\nb", "a\x00b", "äbc"],
)
def test_bad_label_is_refused(label: str) -> None:
    make_host()

    with pytest.raises(InvalidRequest) as caught:
        launch(make_order(label=label))

    assert [field for field, _ in caught.value.errors] == ["label"]


@pytest.mark.django_db
def test_repeated_key_returns_the_first_instance() -> None:
    make_host()
    order = make_order(idempotency_key="k1")

    first = launch(order)
    before = counts()
    second = launch(order)

    assert first.pk == second.pk
    assert counts() == before


@pytest.mark.django_db
def test_key_of_another_request_is_refused() -> None:
    make_host()
    account = make_account()
    launch(make_order(account, idempotency_key="k1", label="one"))
    before = counts()

    with pytest.raises(IdempotencyConflict):
        launch(make_order(account, idempotency_key="k1", label="two"))

    assert counts() == before
    launch(make_order(make_account(), idempotency_key="k1"))


@pytest.mark.django_db
def test_delete_is_asked_for_once() -> None:
    make_host()
    instance = launch(make_order())

    delete(instance, "user:tester", "tester")
    with pytest.raises(InstanceBusy):
        delete(instance, "user:tester", "tester")

    assert Job.objects.filter(kind="delete").count() == 1
    assert CardClaim.objects.filter(released_at=None).count() == 1


def in_parallel(count: int, work: Callable[[int], object]) -> list[object]:
    """Run `work` in `count` threads that start together; returns results or exceptions."""
    results: list[object] = [None] * count
    gate = threading.Barrier(count)

    def run(index: int) -> None:
        try:
            gate.wait()
            results[index] = work(index)
        except Exception as error:  # noqa: BLE001 -- the test looks at each
            results[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def orders(count: int, **fields: object) -> list[LaunchOrder]:
    account, plan = make_account(), make_plan()
    make_image()
    make_region()
    return [make_order(account, plan=plan.slug, **fields) for _ in range(count)]


@pytest.mark.django_db(transaction=True)
def test_two_hundred_parallel_launches_take_seven_cards_once_each() -> None:
    make_host(cards_per_node=(2, 2))
    make_host(cards_per_node=(2, 1))
    wanted = orders(200)

    results = in_parallel(160, lambda i: launch(wanted[i]))
    results += in_parallel(40, lambda i: launch(wanted[160 + i]))

    kinds = Counter(type(result).__name__ for result in results)
    assert kinds == {"Instance": 7, "NoCapacity": 193}
    open_claims = CardClaim.objects.filter(released_at=None)
    assert open_claims.count() == 7
    assert len(set(open_claims.values_list("card_id", flat=True))) == 7
    assert set(open_claims.values_list("consumer", flat=True)) == set(
        Instance.objects.values_list("uuid", flat=True)
    )
    assert CardEvent.objects.filter(kind="claimed").count() == 7
    assert Job.objects.count() == OrmQ.objects.count() == 7
    for host in Host.objects.all():
        assert host.free_shape == shape_of(snapshots_of([host])[0])


@pytest.mark.django_db(transaction=True)
def test_locked_host_is_not_taken_for_sold_out() -> None:
    """With SKIP LOCKED alone a host that others are claiming on looks sold out."""
    make_host(cards_per_node=(8,), cores_per_node=8, memory_mib=8192)
    wanted = orders(8)

    results = in_parallel(8, lambda i: launch(wanted[i]))

    assert [type(result).__name__ for result in results] == ["Instance"] * 8


@pytest.mark.django_db(transaction=True)
def test_parallel_repeats_of_one_key_make_one_instance() -> None:
    make_host()
    wanted = orders(8, idempotency_key="click")

    results = in_parallel(8, lambda i: launch(wanted[i]))

    assert {result.pk for result in results if isinstance(result, Instance)} == {
        Instance.objects.get().pk
    }
    assert [type(result).__name__ for result in results] == ["Instance"] * 8
    assert CardClaim.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_killed_flag_stops_launches_at_once() -> None:
    make_host()
    account = make_account()
    flag = make_flag(accounts=(account,))
    plan = make_plan(flag_name=GPU_FLAG)
    launch(make_order(account, plan=plan.slug))

    changes.kill(flag.pk, Why("user:ann", "the cards burn"))

    results = in_parallel(2, lambda _: launch(make_order(account, plan=plan.slug)))
    assert [type(result).__name__ for result in results] == ["Killed"] * 2
    assert CardClaim.objects.count() == 1
