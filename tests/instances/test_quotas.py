"""Quotas: what an account may hold of a GPU model, counted where it is claimed."""

import pytest

from instances.actions.launch import launch
from instances.actions.reserve import release_reservation, reserve
from instances.exceptions import QuotaExceeded
from instances.models import Account, GpuQuota, Instance, Reservation
from instances.quotas import gpu_use
from inventory.ledger import Actor, release
from inventory.models import CardClaim
from tests.builders import (
    make_account,
    make_gpu_model,
    make_host,
    make_image,
    make_order,
    make_plan,
)
from tests.instances.test_launch import in_parallel
from tests.instances.test_reservations import make_reservation_order

pytestmark = pytest.mark.django_db


def make_quota(cards: int, account: Account | None = None) -> GpuQuota:
    return GpuQuota.objects.create(
        account=account, gpu_model=make_gpu_model(), cards=cards
    )


def test_quota_counts_instances_and_reservations() -> None:
    make_host()
    account, plan = make_account(), make_plan()
    make_quota(3, account)
    launch(make_order(account, plan=plan.slug))
    reservation = reserve(make_reservation_order(account, plan))
    two = make_plan(cards=2)

    with pytest.raises(QuotaExceeded) as caught:
        launch(make_order(account, plan=two.slug))
    assert (caught.value.allowed, caught.value.used, caught.value.wanted) == (3, 2, 2)
    assert caught.value.field == "type"
    assert caught.value.public_message == (
        "Account Limit reached. 2 of 3 Quadro rtx6000 GPUs are in use or reserved, and "
        "this asks for 2 more. Please open a support ticket."
    )
    with pytest.raises(QuotaExceeded):
        reserve(make_reservation_order(account, two))
    assert (Instance.objects.count(), Reservation.objects.count()) == (1, 1)

    release_reservation(reservation.pk, "user:tester")
    assert launch(make_order(account, plan=two.slug)).pk


def test_using_a_reservation_counts_its_cards_once() -> None:
    make_host()
    account, plan = make_account(), make_plan()
    make_quota(1, account)
    reservation = reserve(make_reservation_order(account, plan))

    order = make_order(account, plan=plan.slug, reservation=reservation.pk)

    assert launch(order).uuid == reservation.uuid
    assert [(use.allowed, use.used) for use in gpu_use(account)] == [(1, 1)]


def test_own_quota_goes_before_the_default() -> None:
    make_host()
    plan = make_plan(cards=2)
    large, usual = make_account(), make_account()
    make_quota(1)
    make_quota(2, large)

    launch(make_order(large, plan=plan.slug))
    with pytest.raises(QuotaExceeded):
        launch(make_order(usual, plan=plan.slug))

    assert [(use.allowed, use.used) for use in gpu_use(large)] == [(2, 2)]
    assert [(use.allowed, use.used) for use in gpu_use(usual)] == [(1, 0)]


def test_released_cards_no_longer_count() -> None:
    make_host()
    account, plan = make_account(), make_plan()
    make_quota(1, account)
    instance = launch(make_order(account, plan=plan.slug))

    release(instance.uuid, Actor("job:1", "deleted"))

    assert launch(make_order(account, plan=plan.slug)).pk


def test_plan_without_cards_has_no_quota() -> None:
    make_host()
    account = make_account()
    make_quota(0)

    assert launch(make_order(account, plan=make_plan(cards=0).slug)).pk


@pytest.mark.django_db(transaction=True)
def test_parallel_creates_stay_within_the_quota() -> None:
    make_host(cards_per_node=(8,), cores_per_node=8, memory_mib=8192)
    account, plan = make_account(), make_plan()
    make_quota(3, account)
    make_image()
    orders = [make_order(account, plan=plan.slug) for _ in range(8)]
    holds = [make_reservation_order(account, plan) for _ in range(8)]

    results = in_parallel(
        8, lambda i: launch(orders[i]) if i % 2 else reserve(holds[i])
    )

    refused = [r for r in results if isinstance(r, QuotaExceeded)]
    assert len(refused) == 5
    assert CardClaim.objects.filter(released_at=None).count() == 3
    assert Instance.objects.count() + Reservation.objects.count() == 3
