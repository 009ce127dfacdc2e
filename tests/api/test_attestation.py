"""GET /gpucloud/instances/{id}/attestation: what was done to cards before this customer."""

import hashlib
import json
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from instances.actions.delete import delete
from instances.jobs import card_work, runner
from instances.models import Job, Plan
from inventory.attestation import report_digest
from inventory.choices import CheckKind, CheckOutcome
from inventory.ledger import Actor, release
from inventory.models import Card, CardCheck, Host
from tests.api.builders import ORDER, Customer, make_customer
from tests.api.test_gpus import asked, created
from tests.api.test_reservations import PATH, wanted
from tests.builders import (
    GPU_FLAG,
    make_check,
    make_host,
    make_image,
    make_plan,
    make_region,
)
from tests.simulated import SimulatedHypervisor

pytestmark = pytest.mark.django_db


@pytest.fixture
def one_card(customer: Customer) -> Host:
    """Give a shop with one card."""
    make_image()
    make_plan(ORDER["type"], flag_name=GPU_FLAG)
    return make_host(cards_per_node=(1,), region=make_region("us-east"))


def work(job_ids: list[int], hypervisor: SimulatedHypervisor) -> None:
    """Run jobs and what they bring with them, as workers would."""
    while job_ids:
        job_ids = [
            following
            for job_id in job_ids
            for following in runner.run(job_id, lambda _uri: hypervisor)
        ]


def used_and_deleted(customer: Customer, hypervisor: SimulatedHypervisor) -> None:
    """Have a guest of the customer's on a card, and the card cleaned after it."""
    instance = created(customer)
    work([Job.objects.get(instance=instance).pk], hypervisor)
    work([delete(instance, "user:carol", "carol").pk], hypervisor)
    assert Card.objects.get().condition == "ready"


def test_a_new_card_was_tested_and_never_used(
    customer: Customer, one_card: Host
) -> None:
    instance = created(customer)

    (gpu,) = asked(customer, instance, "attestation")["gpus"]

    (check,) = CardCheck.objects.all()
    assert gpu == {
        "id": asked(customer, instance, "gpus")["data"][0]["id"],
        "model": "rtx6000",
        "since": gpu["since"],
        "was_used": False,
        "is_wiped": False,
        "is_tested": True,
        "checks": [
            {
                "kind": "test",
                "result": "passed",
                "begin": f"{check.started_at:%Y-%m-%dT%H:%M:%S}",
                "end": f"{check.finished_at:%Y-%m-%dT%H:%M:%S}",
                "bytes": None,
                "console_digest": None,
                "report_digest": gpu["checks"][0]["report_digest"],
            }
        ],
    }


def test_the_last_users_card_was_wiped_then_tested(
    customer: Customer, one_card: Host
) -> None:
    hypervisor = SimulatedHypervisor()
    used_and_deleted(customer, hypervisor)
    neighbour = make_customer("nina", account=customer.account)

    instance = created(neighbour)
    (gpu,) = asked(neighbour, instance, "attestation")["gpus"]

    assert (gpu["was_used"], gpu["is_wiped"], gpu["is_tested"]) == (True,) * 3
    # The test before the first user says nothing about what came after.
    wiped, tested = gpu["checks"]
    assert (wiped["kind"], wiped["result"]) == ("wipe", "passed")
    assert (tested["kind"], tested["result"]) == ("test", "passed")
    assert wiped["bytes"] == tested["bytes"] == 64 << 20
    consoles = CardCheck.objects.order_by("-pk").values_list("console", flat=True)[:2]
    assert [tested["console_digest"], wiped["console_digest"]] == [
        hashlib.sha256(console.encode()).hexdigest() for console in consoles
    ]


def test_the_digest_can_be_made_again_and_lasts(
    customer: Customer, one_card: Host
) -> None:
    hypervisor = SimulatedHypervisor()
    used_and_deleted(customer, hypervisor)
    instance = created(customer)
    told = asked(customer, instance, "attestation")

    said = {name: value for name, value in told.items() if name != "digest"}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert told["digest"] == hashlib.sha256(text.encode()).hexdigest()

    work([Job.objects.get(instance=instance, kind="launch").pk], hypervisor)
    customer.api.put(f"/linode/instances/{instance.pk}", {"label": "renamed"})
    assert asked(customer, instance, "attestation") == told


@pytest.mark.parametrize("field", ["finding", "console", "image", "outcome"])
def test_the_report_digest_covers_what_was_recorded(
    customer: Customer, one_card: Host, field: str
) -> None:
    check = make_check(one_card.cards.get())
    before = report_digest(check)
    setattr(check, field, "other")
    assert report_digest(check) != before


def test_failures_are_told_and_are_no_proof(customer: Customer, one_card: Host) -> None:
    hypervisor = SimulatedHypervisor()
    instance = created(customer)
    work([Job.objects.get().pk], hypervisor)
    hypervisor.bad_bytes["0000:21:00"] = 7
    deletion = delete(instance, "user:carol", "carol").pk
    (wipe,) = runner.run(deletion, lambda _uri: hypervisor)
    again = runner.run(wipe, lambda _uri: hypervisor)
    hypervisor.bad_bytes.clear()
    work(again or card_work.plan(one_card.pk), hypervisor)

    (gpu,) = asked(customer, created(customer), "attestation")["gpus"]

    results = [(check["kind"], check["result"]) for check in gpu["checks"]]
    assert results == [("wipe", "failed"), ("wipe", "passed"), ("test", "passed")]
    assert (gpu["is_wiped"], gpu["is_tested"]) == (True, True)
    assert "7 bytes" not in str(gpu)


def test_what_a_lab_skipped_is_not_called_wiped(
    customer: Customer, one_card: Host, settings: Settings
) -> None:
    settings.LAB_SKIPS_SANITISING = True
    used_and_deleted(customer, SimulatedHypervisor())

    (gpu,) = asked(customer, created(customer), "attestation")["gpus"]

    assert [check["result"] for check in gpu["checks"]] == ["skipped", "skipped"]
    assert (gpu["was_used"], gpu["is_wiped"], gpu["is_tested"]) == (True, False, False)


def test_a_hold_that_was_let_go_is_no_use(customer: Customer, one_card: Host) -> None:
    for _ in range(2):
        row = customer.api.post(PATH, wanted()).json()["id"]
        assert customer.api.delete(f"{PATH}/{row}").status_code == 200
    row = customer.api.post(PATH, wanted()).json()["id"]

    instance = created(customer, reservation=row)
    (gpu,) = asked(customer, instance, "attestation")["gpus"]

    assert (gpu["was_used"], gpu["is_tested"], len(gpu["checks"])) == (False, True, 1)


def test_later_checks_of_the_card_belong_to_the_next(
    customer: Customer, one_card: Host
) -> None:
    instance = created(customer)
    before = asked(customer, instance, "attestation")
    make_check(one_card.cards.get(), CheckKind.TEST, CheckOutcome.FAILED)

    assert asked(customer, instance, "attestation") == before


def test_nothing_is_attested_of_what_is_not_held(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    plain = created(customer, type="g6-standard-2")
    released = created(customer)
    with transaction.atomic():
        release(released.uuid, Actor("job:1", "test"))

    assert asked(customer, plain, "attestation")["gpus"] == []
    assert asked(customer, released, "attestation")["gpus"] == []


def test_attestation_is_of_the_present_set_of_cards(
    customer: Customer, shop: dict[str, Plan]
) -> None:
    hypervisor = SimulatedHypervisor()
    instance = created(customer)
    work([Job.objects.get().pk], hypervisor)
    make_plan("two", cards=2, vcpus=2, memory_mib=256, flag_name=GPU_FLAG)
    before = asked(customer, instance, "attestation")["gpus"]

    resized = customer.api.post(
        f"/linode/instances/{instance.pk}/resize", {"type": "two"}
    )
    assert resized.status_code == 200, resized.content
    assert asked(customer, instance, "attestation")["gpus"] == before
    work([Job.objects.get(instance=instance, kind="resize").pk], hypervisor)

    after = asked(customer, instance, "attestation")["gpus"]
    assert len(after) == 2
    assert before[0]["id"] not in [gpu["id"] for gpu in after]


def test_query_count_does_not_depend_on_the_number_of_cards(
    customer: Customer, shop: dict[str, Plan], django_assert_num_queries: Any
) -> None:
    make_plan("three", cards=3, vcpus=3, memory_mib=768, flag_name=GPU_FLAG)
    for kind, cards in ((ORDER["type"], 1), ("three", 3)):
        instance = created(customer, type=kind)
        with django_assert_num_queries(4):
            assert len(asked(customer, instance, "attestation")["gpus"]) == cards


def test_attestation_needs_the_scope(customer: Customer, one_card: Host) -> None:
    path = f"/gpucloud/instances/{created(customer).pk}/attestation"
    small = make_customer(scopes="events:read_only", account=customer.account)
    assert small.api.get(path).status_code == 401
