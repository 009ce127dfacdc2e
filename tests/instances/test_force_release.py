"""Claims whose machine is gone, released at a person's word: proof, fences, what ends."""

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from instances.actions.delete import delete
from instances.actions.force_release import ReleaseOrder, force_release
from instances.actions.launch import launch
from instances.exceptions import InstanceBusy, NothingHeld, NotProvenGone
from instances.jobs import runner
from instances.models import Event, Instance, Job
from instances.reconcile import reconcile
from inventory.card_actions import quarantine
from inventory.choices import HostPolicy
from inventory.enrolment import EnrolmentOrder, enrol
from inventory.exceptions import HostUnreachable
from inventory.host_policy import set_policy
from inventory.ledger import Actor
from inventory.ledger_audit import audit
from inventory.models import Card, CardClaim, CardEvent, Host, NodeClaim
from tests.builders import make_gpu_model, make_order, make_plan, make_region
from tests.instances.test_card_checks import check_all, work
from tests.simulated import Faulty, SimulatedHypervisor

pytestmark = pytest.mark.django_db
ANN = Actor("user:ann", "burnt down")
PROOF = "I saw the ashes"


@pytest.fixture
def host(simulated_host: SimulatedHypervisor, settings: object) -> Host:
    settings.LAB = True  # type: ignore[attr-defined]
    make_region()
    make_gpu_model()
    order = EnrolmentOrder(
        "qemu+tls://gpu1/system",
        "us-east",
        "gpu1",
        reserved_cores=0,
        reserved_memory_mib=256,
    )
    enrolled = enrol(order, "user:tester", simulated_host).host
    check_all(enrolled, simulated_host)
    reconcile(enrolled.pk, simulated_host)
    return enrolled


@pytest.fixture
def running(host: Host, simulated_host: SimulatedHypervisor) -> Instance:
    """Give an instance with two cards that runs."""
    instance = launch(make_order(plan=make_plan(cards=2).slug))
    work([Job.objects.get(instance=instance).pk], simulated_host)
    instance.refresh_from_db()
    assert instance.phase == "running"
    return instance


def silent(hypervisor: SimulatedHypervisor) -> Faulty:
    def no_answer(_: str) -> None:
        raise HostUnreachable("no route to host")

    return Faulty(hypervisor, no_answer)


def order_for(instance: Instance, proof: str = "") -> ReleaseOrder:
    return ReleaseOrder(instance.uuid, "user:ann", "ann", "board replaced", proof)


def forced(order: ReleaseOrder, hypervisor: object) -> list[int]:
    return force_release(order, lambda _uri: hypervisor)  # type: ignore[arg-type,return-value]


def state() -> list[object]:
    """Return all that a refusal must leave as it was."""
    return [
        list(CardClaim.objects.order_by("pk").values()),
        list(NodeClaim.objects.order_by("pk").values()),
        list(Card.objects.order_by("pk").values()),
        list(Instance.objects.order_by("pk").values()),
        list(Job.objects.order_by("pk").values()),
        list(Event.objects.order_by("pk").values()),
        CardEvent.objects.count(),
    ]


def test_absent_domain_lets_its_cards_go_by_claim(
    host: Host, running: Instance, simulated_host: SimulatedHypervisor
) -> None:
    simulated_host.undefine_domain(str(running.uuid))

    assert forced(order_for(running), simulated_host) == [host.pk]

    running.refresh_from_db()
    assert (running.phase, running.desired) == ("deleted", "deleted")
    assert running.ended_at is not None
    assert CardClaim.objects.filter(released_at=None).count() == 0
    assert NodeClaim.objects.filter(released_at=None).count() == 0
    released = CardEvent.objects.filter(kind="released", consumer=running.uuid)
    assert {(e.actor, e.reason) for e in released} == {
        (
            "user:ann",
            "force-release: board replaced. gpu1 says that it has no such domain",
        )
    }
    assert sorted(e.card.condition for e in released) == ["dirty", "dirty"]
    event = Event.objects.filter(entity_id=running.pk).latest("pk")
    assert (event.action, event.status, event.message) == (
        "linode_delete",
        "finished",
        "The host of this machine was lost.",
    )
    assert audit().difference is None
    check_all(host, simulated_host)
    assert reconcile(host.pk, simulated_host) == []


def test_quarantined_and_missing_cards_stay_so(
    host: Host, running: Instance, simulated_host: SimulatedHypervisor
) -> None:
    first, second = Card.objects.filter(claims__consumer=running.uuid)
    quarantine(first.pk, ANN)
    bus = int(second.slot_path.split(":")[1], 16)
    simulated_host.devices = [
        d for d in simulated_host.devices if f"<bus>{bus}</bus>" not in d
    ]
    reconcile(host.pk, simulated_host)
    simulated_host.undefine_domain(str(running.uuid))

    forced(order_for(running), simulated_host)

    conditions = [Card.objects.get(pk=c.pk).condition for c in (first, second)]
    assert conditions == ["quarantined", "missing"]


def test_domain_that_is_there_keeps_everything(
    running: Instance, simulated_host: SimulatedHypervisor
) -> None:
    before = state()

    for proof in ("", PROOF):
        with pytest.raises(NotProvenGone, match="still has the domain"):
            forced(order_for(running, proof), simulated_host)

    assert state() == before


@pytest.mark.parametrize("policy", [p for p in HostPolicy if p != HostPolicy.RETIRED])
@pytest.mark.parametrize("proof", ["", "   ", PROOF])
def test_silent_host_is_believed_dead_only_out_of_use_and_with_a_proof(
    host: Host,
    running: Instance,
    simulated_host: SimulatedHypervisor,
    policy: HostPolicy,
    proof: str,
) -> None:
    set_policy(host.pk, policy, ANN)
    before = state()

    if policy == HostPolicy.MAINTENANCE and proof == PROOF:
        forced(order_for(running, proof), silent(simulated_host))
        reason = CardEvent.objects.filter(kind="released").latest("pk").reason
        assert PROOF in reason
        assert "gpu1 cannot be asked: no route to host" in reason
        assert CardClaim.objects.filter(released_at=None).count() == 0
        set_policy(host.pk, HostPolicy.RETIRED, ANN)
        return
    expected = "proof: " if policy == HostPolicy.MAINTENANCE else "maintenance first"
    with pytest.raises(NotProvenGone, match=expected):
        forced(order_for(running, proof), silent(simulated_host))
    assert state() == before


def test_another_host_at_the_address_proves_nothing(
    host: Host, running: Instance, simulated_host: SimulatedHypervisor
) -> None:
    Host.objects.update(host_uuid=uuid.uuid4())
    simulated_host.undefine_domain(str(running.uuid))
    before = state()

    with pytest.raises(NotProvenGone, match="answers as another host"):
        forced(order_for(running), simulated_host)

    assert state() == before


def test_host_that_is_put_in_service_meanwhile_is_not_believed_dead(
    host: Host, running: Instance, simulated_host: SimulatedHypervisor
) -> None:
    set_policy(host.pk, HostPolicy.MAINTENANCE, ANN)

    def repaired(_: str) -> None:
        set_policy(host.pk, HostPolicy.IN_SERVICE, ANN)
        raise HostUnreachable("no answer yet")

    with pytest.raises(NotProvenGone, match="in use again"):
        forced(order_for(running, PROOF), Faulty(simulated_host, repaired))

    assert CardClaim.objects.filter(released_at=None).count() == 2


def _waiting_launch(_: Instance, __: object) -> None:
    """It was never delivered."""


def _delete_in_vain(instance: Instance, hypervisor: object) -> None:
    job = delete(instance, "user:tester", "tester")
    runner.run(job.pk, lambda _uri: hypervisor)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("prepare", "phase", "jobs"),
    [
        (_waiting_launch, "failed", [("launch", "failed")]),
        (_delete_in_vain, "failed", [("launch", "failed"), ("delete", "succeeded")]),
    ],
)
def test_jobs_of_a_machine_that_never_was_end_with_it(
    host: Host,
    simulated_host: SimulatedHypervisor,
    prepare: Callable[[Instance, object], None],
    phase: str,
    jobs: list[tuple[str, str]],
) -> None:
    instance = launch(make_order())
    prepare(instance, silent(simulated_host))

    forced(order_for(instance), simulated_host)

    instance.refresh_from_db()
    assert instance.phase == phase
    rows = Job.objects.filter(instance=instance).order_by("pk")
    assert list(rows.values_list("kind", "state")) == jobs
    assert rows.exclude(lease_token=None).count() == 0
    assert Event.objects.filter(status__in=["scheduled", "started"]).count() == 0
    assert Event.objects.filter(action="linode_delete").count() == len(jobs) - 1


def test_delete_that_waits_for_a_dead_host_succeeds(
    host: Host, running: Instance, simulated_host: SimulatedHypervisor
) -> None:
    _delete_in_vain(running, silent(simulated_host))
    set_policy(host.pk, HostPolicy.MAINTENANCE, ANN)

    forced(order_for(running, PROOF), silent(simulated_host))

    running.refresh_from_db()
    assert running.phase == "deleted"
    job = Job.objects.get(kind="delete")
    assert (job.state, job.lease_token) == ("succeeded", None)
    deleted = Event.objects.get(action="linode_delete")
    assert (deleted.status, deleted.percent_complete) == ("finished", 100)


def test_job_that_a_worker_holds_is_waited_for(
    running: Instance, simulated_host: SimulatedHypervisor
) -> None:
    job = delete(running, "user:tester", "tester")
    Job.objects.filter(pk=job.pk).update(
        state="running",
        lease_token=uuid.uuid4(),
        lease_expires_at=Now() + timedelta(seconds=60),
    )
    simulated_host.undefine_domain(str(running.uuid))
    before = state()

    with pytest.raises(InstanceBusy, match="A worker is at delete"):
        forced(order_for(running), simulated_host)

    assert state() == before


def test_no_worker_takes_a_job_while_the_host_is_asked(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    """It could bring the domain back after the host has said that there is none."""
    instance = launch(make_order())
    (job,) = Job.objects.filter(instance=instance)
    ran = []

    def worker_tries(method: str) -> None:
        if method == "domain_state" and not ran:
            ran.append(runner.run(job.pk, lambda _uri: simulated_host))  # type: ignore[arg-type,return-value]

    forced(order_for(instance), Faulty(simulated_host, worker_tries))

    assert ran == [[]]
    assert simulated_host.states == {}
    instance.refresh_from_db()
    assert instance.phase == "failed"


def test_claims_without_an_instance_are_released_too(
    host: Host, simulated_host: SimulatedHypervisor
) -> None:
    # One that was ready has usage, whose row keeps the instance's.
    instance = launch(make_order(plan=make_plan(cards=2).slug))
    consumer = instance.uuid
    Job.objects.all().delete()
    Event.objects.all().delete()
    instance.delete()

    order = ReleaseOrder(consumer, "user:ann", "ann", "nobody knows it")
    assert forced(order, simulated_host) == [host.pk]

    assert CardClaim.objects.filter(released_at=None).count() == 0


def test_who_holds_nothing_has_nothing_released(host: Host) -> None:
    order = ReleaseOrder(uuid.uuid4(), "user:ann", "ann", "to be sure")

    with pytest.raises(NothingHeld):
        forced(order, None)
