"""From dirty to ready: the scrub, the test, their evidence, and what failures lead to."""

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError

from instances.actions.delete import delete
from instances.actions.launch import launch
from instances.jobs import card_work, runner
from instances.jobs.card_records import maintenance_uuid
from instances.models import Job
from inventory.choices import CardCondition, HostPolicy
from inventory.exceptions import HostUnreachable, HypervisorError
from inventory.ledger import clock
from inventory.models import Alert, Card, CardCheck, CheckImage, GpuModel, Host
from tests.builders import make_card, make_gpu_model, make_host, make_order
from tests.simulated import Faulty, SimulatedHypervisor, stranger_on

pytestmark = pytest.mark.django_db


def work(job_ids: list[int], host: object) -> None:
    """Run jobs and what they bring with them, as workers would."""
    while job_ids:
        job_ids = [
            following
            for job_id in job_ids
            for following in runner.run(job_id, lambda _uri: host)  # type: ignore[arg-type,return-value]
        ]


def check_all(host: Host, hypervisor: object) -> None:
    while job_ids := card_work.plan(host.pk):
        work(job_ids, hypervisor)


def test_new_card_is_tested_and_then_sold() -> None:
    host = make_host(cards_per_node=(1,), condition=CardCondition.UNVERIFIED)

    check_all(host, SimulatedHypervisor())

    card = host.cards.get()
    assert card.condition == "ready"
    assert Host.objects.get().free_shape.startswith("rtx6000=1")
    (check,) = CardCheck.objects.all()
    assert (check.kind, check.outcome) == ("test", "passed")
    assert "CARD-CHECK-DONE" in check.console
    assert len(check.console_digest) == 64
    assert [e.to_condition for e in card.events.order_by("pk")] == [
        "unverified",
        "testing",
        "ready",
    ]
    assert card.events.first().check_done == check  # type: ignore[union-attr]


def test_released_card_is_scrubbed_and_tested_before_the_next_tenant() -> None:
    host = make_host(cards_per_node=(1,))
    hypervisor = SimulatedHypervisor()
    instance = launch(make_order())
    work([Job.objects.get().pk], hypervisor)
    assert hypervisor.residue["0000:21:00"] > 0

    work([delete(instance, "user:tester", "tester").pk], hypervisor)

    card = host.cards.get()
    assert card.condition == "ready"
    assert hypervisor.residue["0000:21:00"] == 0
    assert hypervisor.states == {}
    assert [key for key in hypervisor.volumes if key[1]] == []
    assert list(card.checks.order_by("pk").values_list("kind", "outcome"))[-2:] == [
        ("sanitise", "passed"),
        ("test", "passed"),
    ]
    released = card.claims.get().released_at
    assert released is not None
    assert all(c.started_at > released for c in card.checks.order_by("-pk")[:2])


def test_card_that_fails_twice_is_quarantined_with_its_evidence() -> None:
    host = make_host(cards_per_node=(1,), condition=CardCondition.DIRTY)
    hypervisor = SimulatedHypervisor()
    hypervisor.bad_bytes["0000:21:00"] = 7

    check_all(host, hypervisor)

    card = host.cards.get()
    assert card.condition == "quarantined"
    assert card.checks.filter(outcome="failed").count() == 2
    event = card.events.first()
    assert event is not None
    assert "7 bytes did not hold what was written" in event.reason
    assert event.check_done == card.checks.first()


def test_memory_counts_only_where_it_was_just_wiped() -> None:
    """After a boot a card's memory holds anything; after a scrub it must hold nothing."""
    host = make_host(cards_per_node=(1,), condition=CardCondition.UNVERIFIED)
    hypervisor = SimulatedHypervisor()
    hypervisor.residue["0000:21:00"] = 9

    check_all(host, hypervisor)

    assert host.cards.get().condition == "ready"
    assert CardCheck.objects.filter(outcome="failed").count() == 0


def test_card_that_was_pulled_out_is_missing_and_did_not_fail(
    simulated_host: SimulatedHypervisor,
) -> None:
    host = make_host(cards_per_node=(1,), condition=CardCondition.DIRTY)
    simulated_host.devices = [
        d for d in simulated_host.devices if "<bus>33</bus>" not in d
    ]

    def absent(name: str) -> None:
        if name == "start_domain":
            raise HypervisorError("Device 0000:21:00.0 not found", 38)

    check_all(host, Faulty(simulated_host, absent))  # type: ignore[arg-type]

    card = host.cards.get()
    assert card.condition == "missing"
    assert card.checks.filter(outcome="failed").count() == 0
    assert Job.objects.get().state == "failed"


def test_one_failure_is_tried_again() -> None:
    host = make_host(cards_per_node=(1,), condition=CardCondition.UNVERIFIED)
    hypervisor = SimulatedHypervisor()
    hypervisor.bad_bytes["0000:21:00"] = 7
    (first,) = card_work.plan(host.pk)

    (second,) = runner.run(first, lambda _uri: hypervisor)  # type: ignore[arg-type,return-value]
    assert host.cards.get().condition == "unverified"
    hypervisor.bad_bytes.clear()
    work([second], hypervisor)

    assert host.cards.get().condition == "ready"


def test_many_failures_in_a_region_ask_a_person_first() -> None:
    host = make_host(cards_per_node=(3,), condition=CardCondition.DIRTY)
    hypervisor = SimulatedHypervisor()
    hypervisor.bad_bytes = dict.fromkeys(
        Card.objects.values_list("slot_path", flat=True), 1
    )

    check_all(host, hypervisor)

    conditions = sorted(Card.objects.values_list("condition", flat=True))
    assert conditions == ["dirty", "dirty", "quarantined"]
    assert Alert.objects.filter(code="mass-quarantine", cleared_at=None).count() == 2
    assert card_work.plan(host.pk) == []


def test_check_of_a_card_that_a_stranger_uses_fails_and_leaves_the_stranger() -> None:
    host = make_host(cards_per_node=(1,), condition=CardCondition.UNVERIFIED)
    hypervisor = SimulatedHypervisor()
    stranger = str(uuid.uuid4())
    hypervisor.define_domain(stranger_on("0000:21:00.0", stranger))
    hypervisor.start_domain(stranger)

    check_all(host, hypervisor)

    assert host.cards.get().condition == "quarantined"
    assert hypervisor.states == {stranger: "running"}


def test_silent_host_delays_a_check_and_fails_none() -> None:
    host = make_host(cards_per_node=(1,), condition=CardCondition.DIRTY)
    hypervisor = SimulatedHypervisor()

    def silent(name: str) -> None:
        if name == "start_domain":
            raise HostUnreachable("no answer")

    (job_id,) = card_work.plan(host.pk)
    work([job_id], Faulty(hypervisor, silent))

    assert host.cards.get().condition == "sanitising"
    assert CardCheck.objects.filter(outcome="failed").count() == 0
    assert Host.objects.get().connection == "unknown"
    Job.objects.update(not_before=None)
    work([job_id], hypervisor)
    assert host.cards.get().condition == "ready"


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", ["define_domain", "start_domain", "undefine_domain"])
def test_worker_killed_in_a_check_is_followed_by_another(
    call: str, moment: str
) -> None:
    host = make_host(cards_per_node=(1,), condition=CardCondition.DIRTY)
    hypervisor = SimulatedHypervisor()

    class Killed(BaseException):
        """Stands for SIGKILL."""

    class Killing:
        def __getattr__(self, name: str) -> Callable[..., object]:
            def act(*args: object) -> object:
                if name == call and moment == "before":
                    raise Killed
                result = getattr(hypervisor, name)(*args)
                if name == call:
                    raise Killed
                return result

            return act

    (job_id,) = card_work.plan(host.pk)
    with pytest.raises(Killed):
        work([job_id], Killing())
    Job.objects.update(lease_expires_at=None)

    work([job_id], hypervisor)

    assert host.cards.get().condition == "ready"
    assert hypervisor.states == {}
    assert maintenance_uuid(host.cards.get().pk) not in hypervisor.documents


def test_worker_that_dies_in_a_scrub_is_followed_within_minutes() -> None:
    host = make_host(cards_per_node=(1,), condition=CardCondition.DIRTY)

    class Killed(BaseException):
        """Stands for SIGKILL."""

    def kill(name: str) -> None:
        if name == "read_volume_tail":
            raise Killed

    (job_id,) = card_work.plan(host.pk)
    with pytest.raises(Killed):
        work([job_id], Faulty(SimulatedHypervisor(), kill))

    held_until = Job.objects.get(pk=job_id).lease_expires_at
    assert held_until is not None
    assert held_until - clock() <= timedelta(minutes=3)


def test_overtaken_worker_leaves_the_card_to_its_successor() -> None:
    host = make_host(cards_per_node=(1,), condition=CardCondition.DIRTY)
    hypervisor = SimulatedHypervisor()
    evidence = CardCheck.objects.count()
    (job_id,) = card_work.plan(host.pk)
    calls: list[str] = []

    def overtake(name: str) -> None:
        calls.append(name)
        if name == "domain_state":
            Job.objects.filter(pk=job_id).update(lease_token=uuid.uuid4())

    work([job_id], Faulty(hypervisor, overtake))

    assert calls[-1] == "read_volume_tail"
    assert CardCheck.objects.count() == evidence
    Job.objects.update(lease_expires_at=None)
    work([job_id], hypervisor)
    assert host.cards.get().condition == "ready"


def test_cards_of_one_host_are_checked_within_the_limit(settings: object) -> None:
    settings.CARDS_CLEANED_PER_HOST = 2  # type: ignore[attr-defined]
    host = make_host(cards_per_node=(3,), condition=CardCondition.DIRTY)

    assert len(card_work.plan(host.pk)) == 2
    assert card_work.plan(host.pk) == []


@pytest.mark.parametrize("policy", [HostPolicy.MAINTENANCE, HostPolicy.RETIRED])
def test_no_card_is_checked_on_a_host_that_people_work_on(policy: HostPolicy) -> None:
    host = make_host(condition=CardCondition.DIRTY, policy=policy)

    assert card_work.plan(host.pk) == []


def test_model_without_a_scrub_image_leaves_its_cards_dirty_and_says_so() -> None:
    host = make_host(cards_per_node=(1,), condition=CardCondition.DIRTY)
    GpuModel.objects.update(scrub_image=None)

    assert card_work.plan(host.pk) == []

    assert host.cards.get().condition == "dirty"
    assert "has no scrub image" in Alert.objects.get().message


def test_checks_that_a_job_has_no_time_for_are_not_begun_and_say_so(
    settings: object,
) -> None:
    host = make_host(cards_per_node=(1,), condition=CardCondition.DIRTY)
    settings.JOB_TIMEOUT_S = 719  # type: ignore[attr-defined]

    assert card_work.plan(host.pk) == []

    assert host.cards.get().condition == "dirty"
    assert "GPUCLOUD_JOB_TIMEOUT_S=719" in Alert.objects.get().message
    settings.JOB_TIMEOUT_S = 720  # type: ignore[attr-defined]
    assert len(card_work.plan(host.pk)) == 1
    assert Alert.objects.filter(cleared_at=None).count() == 0


def test_timeouts_that_no_job_has_are_refused_where_they_are_saved() -> None:
    model = make_gpu_model()
    slow = CheckImage(slug="slow", kernel_path="/boot/check", timeout_s=481)
    slow.full_clean()
    slow.save()

    model.test_image = slow
    with pytest.raises(ValidationError, match="set 901 or more for every") as caught:
        model.full_clean()
    assert list(caught.value.message_dict) == ["test_image"]

    slow.timeout_s = 480
    slow.full_clean()
    slow.save()
    model.full_clean()
    model.save()
    slow.timeout_s = 481
    with pytest.raises(ValidationError, match="check 300 s and slow 481 s"):
        slow.full_clean()
    slow = CheckImage(slug="slower", kernel_path="/boot/check", timeout_s=781)
    with pytest.raises(ValidationError, match="One job runs slower 781 s"):
        slow.full_clean()


def test_lab_that_skips_checks_says_so_in_the_evidence(settings: object) -> None:
    settings.LAB_SKIPS_SANITISING = True  # type: ignore[attr-defined]
    host = make_host(cards_per_node=(1,), condition=CardCondition.DIRTY)
    hypervisor = SimulatedHypervisor()

    check_all(host, hypervisor)

    card = host.cards.get()
    assert card.condition == "ready"
    assert card.checks.filter(outcome="skipped").count() == 2
    assert hypervisor.volumes == {}


def test_skipped_check_first_removes_the_guest_of_an_attempt_that_was_not(
    settings: object,
) -> None:
    class Killed(BaseException):
        """The worker's process is gone while its guest runs."""

    def die(name: str) -> None:
        if name == "domain_state":
            raise Killed

    host = make_host(cards_per_node=(1,), condition=CardCondition.DIRTY)
    hypervisor = SimulatedHypervisor()
    (job_id,) = card_work.plan(host.pk)
    with pytest.raises(Killed):
        work([job_id], Faulty(hypervisor, die))
    assert hypervisor.domains()
    Job.objects.update(lease_expires_at=None)

    settings.LAB_SKIPS_SANITISING = True  # type: ignore[attr-defined]
    work([job_id], hypervisor)

    assert host.cards.get().condition == "ready"
    assert hypervisor.domains() == {}


def test_card_that_a_stranger_had_during_its_test_is_scrubbed_before_it_is_sold() -> (
    None
):
    host = make_host(cards_per_node=(1,), condition=CardCondition.UNVERIFIED)
    card = host.cards.get()
    hypervisor = SimulatedHypervisor()
    (job_id,) = card_work.plan(host.pk)

    def seen(name: str) -> None:
        if name == "start_domain" and not card.discrepancies.exists():
            card.discrepancies.create(
                host=host,
                kind="unclaimed_hostdev",
                subject="0000:21:00.0",
                first_seen_at=clock(),
                last_seen_at=clock(),
                resolved_at=clock(),
            )

    work([job_id], Faulty(hypervisor, seen))

    card.refresh_from_db()
    assert card.condition == "ready"
    # Tested, sent back, scrubbed and tested again; none of it counts as failed.
    kinds = card.checks.order_by("pk").values_list("kind", "outcome")
    assert list(kinds)[-3:] == [
        ("test", "passed"),
        ("sanitise", "passed"),
        ("test", "passed"),
    ]


def test_card_quarantined_in_its_check_stays_so() -> None:
    host = make_host(cards_per_node=(1,))
    card = make_card(host.nodes.get(), "0000:29:00", condition=CardCondition.DIRTY)
    (job_id,) = card_work.plan(host.pk)
    from inventory.card_actions import quarantine
    from inventory.ledger import Actor

    def meddle(name: str) -> None:
        if name == "start_domain":
            quarantine(card.pk, Actor("user:ann", "smells"))

    work([job_id], Faulty(SimulatedHypervisor(), meddle))

    card.refresh_from_db()
    assert card.condition == "quarantined"
    assert Job.objects.get(pk=job_id).state == "failed"
