"""Resize: both plans held until the guest has the new one, and one again however it ends."""

import re
import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from flags import changes
from flags.changes import Why
from flags.models import Flag
from instances.actions.delete import delete
from instances.actions.force_release import ReleaseOrder, force_release
from instances.actions.launch import launch
from instances.actions.power import boot, shut_down
from instances.actions.resize import (
    DISK_TOO_LARGE,
    SAME_PLAN,
    ResizeOrder,
    plans_that_fit,
    resize,
)
from instances.choices import RESIZES, JobKind
from instances.domain_xml import differences
from instances.exceptions import (
    InstanceBusy,
    InstancesError,
    InvalidRequest,
    LeaseLost,
    NoRoomToResize,
    QuotaExceeded,
)
from instances.jobs.records import InstanceRecords
from instances.jobs.workflows import WORKFLOWS
from instances.models import (
    Event,
    GpuQuota,
    Image,
    Instance,
    Job,
    PendingResize,
    Plan,
    RefusedDemand,
    UsageInterval,
)
from instances.reconcile import reconcile
from instances.selectors import spec_of
from instances.status import status_of
from instances.usage_audit import audit_usage
from inventory.choices import CardCondition, HostPolicy
from inventory.exceptions import HypervisorError
from inventory.hypervisor.port import DomainState
from inventory.hypervisor.xml import parse_domain
from inventory.ledger_audit import audit
from inventory.models import Card, CardClaim, Host, NodeClaim, Region
from inventory.shape import shape_of
from inventory.snapshots import snapshots_of
from tests.builders import (
    GPU_FLAG,
    make_flag,
    make_gpu_model,
    make_host,
    make_order,
    make_plan,
)
from tests.instances.test_disk_steps import (
    DISKS,
    image,
    killed_in,
    open_addresses,
    ordered,
)
from tests.instances.test_jobs import (
    expire_lease,
    failing,
    launched,
    open_claims,
    run,
    run_all,
)
from tests.simulated import Faulty, SimulatedHypervisor

__all__ = ["image"]

pytestmark = pytest.mark.django_db
STEPS = [(kind, step.name) for kind in RESIZES for step in WORKFLOWS[kind]]
IS_ON = {JobKind.RESIZE: True, JobKind.RESIZE_OFF: False}


@pytest.fixture(autouse=True)
def no_grace(settings: Settings) -> None:
    settings.SHUTDOWN_GRACE_S = 0


@pytest.fixture
def larger() -> Plan:
    return make_plan("larger", cards=2, disk_mib=128)


def made(image: Image, host: SimulatedHypervisor, *, on: bool = True) -> Instance:
    """Return an instance with one card, a disk and an address."""
    instance, job = ordered(image, plan=make_plan("smaller", disk_mib=64).slug)
    run(job, host)
    if not on:
        stop = shut_down(instance, "user:tester", "tester")
        assert stop is not None
        run(stop, host)
    instance.refresh_from_db()
    return instance


def resized(instance: Instance, plan: Plan, **fields: Any) -> Job:
    return resize(instance, ResizeOrder(plan.slug, "user:tester", "tester", **fields))


def assert_has(instance: Instance, host: SimulatedHypervisor, slug: str) -> None:
    """It has that plan and its claims alone; host, ledger, search key and usage agree."""
    instance.refresh_from_db()
    assert instance.plan.slug == slug
    assert PendingResize.objects.count() == 0
    spec = spec_of(instance)
    assert spec is not None
    assert list(host.documents) == [str(instance.uuid)]
    assert differences(spec, parse_domain(host.documents[str(instance.uuid)])) == []
    assert (len(spec.hostdevs), spec.memory_mib) == (
        instance.plan.cards,
        instance.plan.memory_mib,
    )
    claims = NodeClaim.objects.filter(released_at=None)
    assert {(c.consumer, c.claim_set) for c in claims} == {
        (instance.uuid, instance.claim_set)
    }
    assert open_claims() == (instance.plan.cards, claims.count())
    assert_books_agree()
    (last,) = UsageInterval.objects.filter(ends_at=None)
    assert last.plan == instance.plan


def assert_books_agree() -> None:
    hosts = list(Host.objects.order_by("pk"))
    assert [h.free_shape for h in hosts] == list(map(shape_of, snapshots_of(hosts)))
    assert audit().difference is None
    assert audit_usage().differences == []


def shown(instance: Instance, host: SimulatedHypervisor) -> tuple[str, bool]:
    instance.refresh_from_db()
    on = host.states[str(instance.uuid)] is DomainState.RUNNING
    return status_of(instance), on


@pytest.mark.parametrize("kind", RESIZES)
def test_resize_holds_both_plans_and_then_the_new_one(
    image: Image, larger: Plan, kind: JobKind
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host, on=IS_ON[kind])
    (old,) = CardClaim.objects.all()

    job = resized(instance, larger)

    instance.refresh_from_db()
    assert (status_of(instance), instance.plan.slug) == ("resizing", "smaller")
    assert (job.kind, open_claims()) == (kind, (3, 2))
    assert_books_agree()
    run(job, host)
    job.refresh_from_db()
    assert job.state == "succeeded"
    word = "running" if IS_ON[kind] else "offline"
    assert shown(instance, host) == (word, IS_ON[kind])
    assert_has(instance, host, "larger")
    disk = host.volume(DISKS, f"{instance.uuid}.qcow2")
    assert disk is not None
    assert disk.capacity == 128 << 20
    assert open_addresses() == 1
    old.refresh_from_db()
    assert old.released_at is not None
    assert old.card.condition == CardCondition.DIRTY
    before, after = UsageInterval.objects.order_by("starts_at")
    assert (before.ends_at, after.starts_at) == (old.released_at, old.released_at)
    event = Event.objects.get(action="linode_resize")
    assert (event.status, event.percent_complete) == ("finished", 100)


def test_resize_and_back_scrubs_what_was_used(image: Image, larger: Plan) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    smaller = make_plan("smaller-2", disk_mib=128)

    run_all(run(resized(instance, larger), host), host)
    run_all(run(resized(instance, smaller), host), host)

    assert_has(instance, host, "smaller-2")
    assert host.leaks == []
    assert Card.objects.filter(condition=CardCondition.READY).count() == 4
    run_all(run(delete(instance, "user:tester", "tester"), host), host)
    assert open_claims() == (0, 0)
    assert_books_agree()


def test_disk_stays_as_it_is_if_that_is_asked_for(image: Image, larger: Plan) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)

    run(resized(instance, larger, grows_disk=False), host)

    disk = host.volume(DISKS, f"{instance.uuid}.qcow2")
    assert disk is not None
    assert disk.capacity == 64 << 20
    assert_has(instance, host, "larger")


@pytest.mark.parametrize(("kind", "step"), STEPS)
def test_each_step_failed_leaves_one_plan_and_the_guest_as_before(
    image: Image,
    larger: Plan,
    kind: JobKind,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host, on=IS_ON[kind])
    job = resized(instance, larger)
    (broken,) = [s for s in WORKFLOWS[kind] if s.name == step]
    done = type(broken).do

    def do_and_fail(self: Any, context: Any) -> None:
        # What releases the old claims is one transaction: it fails as a whole.
        if step != "take_next_claims":
            done(self, context)
        raise HypervisorError("refused by the test", 1)

    with monkeypatch.context() as patch:
        patch.setattr(type(broken), "do", do_and_fail)
        run_all(run(job, host), host)

    job.refresh_from_db()
    assert job.state == "failed"
    assert job.public_message.startswith("The host refused this. The Linode keeps")
    word = "running" if IS_ON[kind] else "offline"
    assert shown(instance, host) == (word, IS_ON[kind])
    assert_has(instance, host, "smaller")
    assert host.leaks == []
    assert Event.objects.get(action="linode_resize").status == "failed"
    # And from there it is resized after all.
    run(resized(instance, larger), host)
    assert_has(instance, host, "larger")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("kind", "step"), STEPS)
def test_worker_killed_at_each_step_is_followed_by_another(
    image: Image,
    larger: Plan,
    kind: JobKind,
    step: str,
    moment: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host, on=IS_ON[kind])
    job = resized(instance, larger)
    (victim,) = [s for s in WORKFLOWS[kind] if s.name == step]
    killed_in(victim, moment, monkeypatch, lambda: run(job, host))
    assert_books_agree()

    expire_lease(job)
    run(job, host)

    job.refresh_from_db()
    assert (job.state, job.attempts) == ("succeeded", 2)
    assert_has(instance, host, "larger")


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("kind", RESIZES)
def test_killed_between_any_two_calls_to_the_host(
    image: Image, larger: Plan, kind: JobKind, *, is_late: bool
) -> None:
    """The worker dies at the first call, the next one at the second, and so on.

    is_late: and its time is over from the third on, so that the undoing dies, too.
    """
    host = SimulatedHypervisor()
    instance = made(image, host, on=IS_ON[kind])
    job = resized(instance, larger)
    for calls in range(1, 60):
        left = [calls]

        def die(_name: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

        if is_late and calls == 3:
            Job.objects.filter(pk=job.pk).update(deadline_at=timezone.now())
        try:
            run(job, Faulty(host, die))
        except KeyboardInterrupt:
            expire_lease(job)
            assert_books_agree()
            continue
        break

    job.refresh_from_db()
    assert job.state == ("failed" if is_late else "succeeded")
    word = "running" if IS_ON[kind] else "offline"
    assert shown(instance, host) == (word, IS_ON[kind])
    assert_has(instance, host, "smaller" if is_late else "larger")


@pytest.mark.parametrize("step", [s.name for s in WORKFLOWS[JobKind.RESIZE]])
def test_delete_in_the_middle_of_it_frees_both(
    image: Image, larger: Plan, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    job = resized(instance, larger)
    (victim,) = [s for s in WORKFLOWS[JobKind.RESIZE] if s.name == step]
    killed_in(victim, "after", monkeypatch, lambda: run(job, host))

    deletion = delete(instance, "user:tester", "tester")
    assert run(deletion, host) == []
    expire_lease(job)
    run_all(run(job, host), host)

    instance.refresh_from_db()
    assert instance.phase == "deleted"
    assert (host.documents, host.volume_names(DISKS)) == ({}, [])
    assert (open_claims(), open_addresses()) == ((0, 0), 0)
    assert PendingResize.objects.count() == 0
    assert host.leaks == []
    assert_books_agree()


def test_guest_that_does_not_start_again_is_shown_as_off(
    image: Image, larger: Plan
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    job = resized(instance, larger)

    run(job, Faulty(host, failing("start_domain", HypervisorError("in use", 55))))

    job.refresh_from_db()
    assert job.state == "failed"
    assert shown(instance, host) == ("offline", False)
    assert_has(instance, host, "smaller")


def test_new_claims_are_kept_while_the_guest_may_have_them(
    image: Image, larger: Plan
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    job = resized(instance, larger)
    calls: list[str] = []

    def broken(name: str) -> None:
        calls.append(name)
        # It starts with the new cards, is not seen to, and cannot be stopped.
        if name == "domain_xml" or (name == "destroy_domain" and "domain_xml" in calls):
            raise HypervisorError(f"{name} refused", 1)

    run(job, Faulty(host, broken))

    job.refresh_from_db()
    assert (job.state, open_claims()) == ("unwinding", (3, 2))
    assert PendingResize.objects.count() == 1
    expire_lease(job)
    run_all(run(job, host), host)
    assert_has(instance, host, "smaller")
    assert shown(instance, host) == ("running", True)
    assert host.leaks == []


def test_force_release_in_the_middle_of_it_frees_both(
    image: Image, larger: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    job = resized(instance, larger)
    (victim,) = [s for s in WORKFLOWS[JobKind.RESIZE] if s.name == "start_domain"]
    killed_in(victim, "after", monkeypatch, lambda: run(job, host))
    expire_lease(job)
    Host.objects.update(policy=HostPolicy.MAINTENANCE)
    order = ReleaseOrder(instance.uuid, "user:ann", "ann", "lost", "burnt")

    def silent(_: str) -> None:
        raise HypervisorError("no route to host")

    force_release(order, lambda _uri: Faulty(host, silent))  # type: ignore[arg-type,return-value]

    instance.refresh_from_db()
    assert (instance.phase, open_claims()) == ("deleted", (0, 0))
    assert PendingResize.objects.count() == 0
    assert_books_agree()


def refused(instance: Instance, slug: str, error: type[InstancesError]) -> str:
    before = (open_claims(), Job.objects.count(), Event.objects.count())
    with pytest.raises(error) as caught:
        resize(instance, ResizeOrder(slug, "user:tester", "tester"))
    assert (open_claims(), Job.objects.count(), Event.objects.count()) == before
    assert PendingResize.objects.count() == 0
    assert status_of(Instance.objects.get(pk=instance.pk)) == "running"
    return caught.value.public_message


def test_what_cannot_be_had_is_refused_and_nothing_changes(
    image: Image, larger: Plan
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    make_flag(accounts=())
    make_plan("hidden", disk_mib=64, flag_name=GPU_FLAG)
    make_plan("gone", disk_mib=64, is_sold=False)
    make_plan("thin", disk_mib=63)
    make_plan("huge", cards=4, disk_mib=64)
    invalid = "A valid plan type by that ID was not found"

    assert refused(instance, "smaller", InvalidRequest) == SAME_PLAN
    assert refused(instance, "thin", InvalidRequest) == DISK_TOO_LARGE
    for slug in ("nope", "hidden", "gone"):
        assert refused(instance, slug, InvalidRequest) == invalid
    assert refused(instance, "huge", NoRoomToResize).startswith("There is no room")
    Host.objects.update(policy=HostPolicy.DRAINING)
    assert refused(instance, "larger", NoRoomToResize).startswith("There is no room")
    assert_has(instance, host, "smaller")


def test_quota_counts_the_difference(image: Image, larger: Plan) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    quota = GpuQuota.objects.create(gpu_model=make_gpu_model(), cards=1)

    told = refused(instance, "larger", QuotaExceeded)

    assert "1 of 1 Quadro rtx6000 GPUs are in use or reserved" in told
    assert "asks for 1 more" in told
    quota.cards = 2
    quota.save()
    run(resized(instance, larger), host)
    assert_has(instance, host, "larger")
    quota.cards = 1
    quota.save()
    run_all(run(resized(instance, make_plan("less", disk_mib=128)), host), host)
    assert_has(instance, host, "less")


def test_plans_that_fit_are_those_that_a_resize_takes(
    image: Image, larger: Plan
) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    make_plan("thin", disk_mib=63)
    make_plan("huge", cards=4, disk_mib=64)

    fitting = plans_that_fit(instance, list(Plan.objects.exclude(cards=0)))

    assert [plan.slug for plan in fitting] == ["larger"]


def test_guest_without_a_disk_is_resized_to_any_disk() -> None:
    host = SimulatedHypervisor()
    instance, job = launched(2, disk_mib=100)
    run(job, host)

    run(resized(instance, make_plan("small", disk_mib=1)), host)

    assert_has(instance, host, "small")


def test_other_work_waits_for_its_end(image: Image, larger: Plan) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    resized(instance, larger)

    with pytest.raises(InstanceBusy, match=r"^Linode busy\.$"):
        resized(instance, larger)
    with pytest.raises(InstanceBusy):
        boot(instance, "user:tester", "tester")
    assert open_claims() == (3, 2)


def test_a_look_in_the_middle_of_it_finds_nothing_amiss(
    simulated_host: SimulatedHypervisor,
    image: Image,
    larger: Plan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = simulated_host
    instance = made(image, host)
    job = resized(instance, larger)
    (victim,) = [s for s in WORKFLOWS[JobKind.RESIZE] if s.name == "start_domain"]
    killed_in(victim, "after", monkeypatch, lambda: run(job, host))

    found = reconcile(Host.objects.get().pk, host)

    assert {f.kind for f in found} & {
        "domain_missing",
        "unclaimed_hostdev",
        "hostdev_missing",
        "claim_unused",
        "cpus_differ",
        "memory_differs",
    } == set()
    assert open_claims() == (3, 2)


def test_database_refuses_two_sets_at_rest(image: Image, larger: Plan) -> None:
    host = SimulatedHypervisor()
    instance = made(image, host)
    resized(instance, larger)

    def checked(change: Callable[[], object]) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            change()
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    rows = Instance.objects.filter(pk=instance.pk)
    with pytest.raises(IntegrityError, match="still to be resized"):
        checked(lambda: rows.update(phase="running"))
    with pytest.raises(IntegrityError, match="holds what is not of its plan"):
        checked(PendingResize.objects.all().delete)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["one", "two", "three"]),
        st.sampled_from(["done", "failed", "killed"]),
        st.integers(1, 25),
    ),
    min_size=1,
    max_size=4,
)


@given(OPERATIONS)
def test_claims_are_of_one_plan_after_any_resizes(
    operations: list[tuple[str, str, int]],
) -> None:
    """Each resize is done, fails at its n-th call to the host, or is killed there."""
    with transaction.atomic():
        host = SimulatedHypervisor()
        make_host(cards_per_node=(4, 4), cores_per_node=8, memory_mib=8192)
        for cards, slug in enumerate(("one", "two", "three"), start=1):
            make_plan(slug, cards=cards)
        instance = ordered_on(host)
        for slug, course, calls in operations:
            _try_to_resize(instance, host, slug, course, calls)
            instance.refresh_from_db()
            assert_has(instance, host, instance.plan.slug)
        run_all(run(delete(instance, "user:tester", "tester"), host), host)
        assert open_claims() == (0, 0)
        assert host.leaks == []
        assert_books_agree()
        transaction.set_rollback(True)


def ordered_on(host: SimulatedHypervisor) -> Instance:
    instance = launch(make_order(plan="one"))
    run(Job.objects.get(instance=instance), host)
    return instance


def _try_to_resize(
    instance: Instance, host: SimulatedHypervisor, slug: str, course: str, calls: int
) -> None:
    left = [calls]

    def fault(_name: str) -> None:
        left[0] -= 1
        if left[0] == 0 and course == "failed":
            raise HypervisorError("refused by the test", 1)
        if left[0] == 0 and course == "killed":
            raise KeyboardInterrupt

    try:
        job = resize(instance, ResizeOrder(slug, "user:tester", "tester"))
    except (InvalidRequest, NoRoomToResize):
        return
    try:
        following = run(job, Faulty(host, fault))
    except KeyboardInterrupt:
        expire_lease(job)
        following = run(job, host)
    job.refresh_from_db()
    while job.state not in ("succeeded", "failed"):
        expire_lease(job)
        following = run(job, host)
        job.refresh_from_db()
    run_all(following, host)


def at_once(*verbs: Callable[[], object]) -> list[str]:
    """Call all in threads of their own; return which were done and which found it busy."""
    outcomes: list[str] = []
    start = threading.Barrier(len(verbs))

    def attempt(verb: Callable[[], object]) -> None:
        start.wait()
        try:
            verb()
            outcomes.append("done")
        except InstanceBusy:
            outcomes.append("busy")
        finally:
            connection.close()

    threads = [threading.Thread(target=attempt, args=(verb,)) for verb in verbs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(outcomes)


@pytest.mark.django_db(transaction=True)
def test_of_two_resizes_at_once_one_is_refused() -> None:
    host = SimulatedHypervisor()
    instance, job = launched(1)
    run(job, host)
    larger = make_plan("larger", cards=2)

    outcomes = at_once(*[lambda: resized(instance, larger)] * 2)

    assert outcomes == ["busy", "done"]
    assert open_claims() == (3, 2)
    run_all([Job.objects.latest("pk").pk], host)
    assert_has(instance, host, "larger")


@pytest.mark.django_db(transaction=True)
def test_delete_beats_a_resize_at_the_same_time() -> None:
    host = SimulatedHypervisor()
    instance, job = launched(1)
    run(job, host)
    larger = make_plan("larger", cards=2)

    outcomes = at_once(
        lambda: resized(instance, larger),
        lambda: delete(instance, "user:tester", "tester"),
    )

    assert outcomes in (["done", "done"], ["busy", "done"])
    instance.refresh_from_db()
    assert instance.desired == "deleted"
    for queued in Job.objects.filter(state="queued", instance=instance).order_by("pk"):
        run_all(run(queued, host), host)
    assert (open_claims(), host.documents) == ((0, 0), {})
    assert_books_agree()


def test_worker_that_was_overtaken_puts_nothing_in_force(
    image: Image, larger: Plan
) -> None:
    """Another worker may be on its way back already."""
    host = SimulatedHypervisor()
    instance = made(image, host)
    job = resized(instance, larger)
    Job.objects.filter(pk=job.pk).update(state="running", lease_token=uuid4())
    overtaken = Job.objects.select_related("instance").get(pk=job.pk)
    Job.objects.filter(pk=job.pk).update(lease_token=uuid4())

    with pytest.raises(LeaseLost):
        InstanceRecords(overtaken).take_next_claims()

    instance.refresh_from_db()
    assert instance.plan.slug == "smaller"
    assert PendingResize.objects.count() == 1
    assert open_claims() == (3, 2)


def test_guest_that_drifted_before_its_resize_can_still_be_deleted(
    image: Image, larger: Plan
) -> None:
    """Another hand changed its document: that says nothing of the new claims."""
    host = SimulatedHypervisor()
    instance = made(image, host)
    uuid = str(instance.uuid)
    by_hand = re.sub(r'(<vcpupin[^>]*cpuset=)"\d+"', r'\1"99"', host.documents[uuid])
    assert by_hand != host.documents[uuid]
    host.documents[uuid] = by_hand
    job = resized(instance, larger)
    gone = delete(instance, "user:tester", "tester")

    run_all([job.pk], host)

    job.refresh_from_db()
    gone.refresh_from_db()
    assert (job.state, gone.state) == ("failed", "succeeded")
    assert open_claims() == (0, 0)
    assert host.documents == {}


def test_gate_of_the_new_plan_is_asked_before_the_host(
    image: Image, larger: Plan
) -> None:
    flag = Flag.objects.create(name="new-cards", everyone=True)
    Plan.objects.filter(pk=larger.pk).update(flag_name=flag.name)
    host = SimulatedHypervisor()
    instance = made(image, host)
    job = resized(instance, larger)
    changes.kill(flag.pk, Why("user:ann", "the cards burn"))

    run(job, host)

    job.refresh_from_db()
    assert (job.state, job.public_message) == ("failed", "This plan is not available.")
    assert shown(instance, host) == ("running", True)
    assert_has(instance, host, "smaller")
    refused = RefusedDemand.objects.get()
    assert (refused.job, refused.flag_name, refused.reason) == (
        *(job, "new-cards", "killed"),
    )
    with pytest.raises(InvalidRequest, match="A valid plan type"):
        resized(instance, larger)
    assert RefusedDemand.objects.filter(job=None).count() == 1


def test_no_resize_where_the_region_is_killed(image: Image, larger: Plan) -> None:
    flag = Flag.objects.create(name="new-place", everyone=True)
    host = SimulatedHypervisor()
    instance = made(image, host)
    Region.objects.update(flag_name=flag.name)
    changes.kill(flag.pk, Why("user:ann", "no power"))

    with pytest.raises(InvalidRequest, match="not available in the Linode's region"):
        resized(instance, larger)

    assert_has(instance, host, "smaller")
    assert RefusedDemand.objects.get().flag_name == "new-place"
