"""Resize an instance: the new plan's claims beside the old ones, then a job that moves it."""

from dataclasses import dataclass

from django.db import transaction

from flags.availability import is_available
from instances import lifecycle
from instances.actions.refused import refusals_noted
from instances.actions.sale import offer
from instances.choices import JobKind, Phase
from instances.exceptions import InstanceBusy, InvalidRequest, NoRoomToResize
from instances.gates import hold_gates
from instances.jobs import runner
from instances.jobs.deadlines import deadline_s
from instances.models import Instance, Job, PendingResize, Plan
from instances.placement import NoFit, Placement, place
from instances.quotas import check_quota
from instances.selectors import host_of, request_of
from instances.status import Status, status_of
from instances.tasks import enqueue_job
from instances.trials import admit_resize, refuse_if_over
from inventory.free_host import free_host
from inventory.ledger import Actor, claim, lock_host, lock_hosts_of, refresh_shape
from inventory.models import Host
from inventory.snapshots import accepting_hosts
from inventory.topology import HostSnapshot

SAME_PLAN = "Linode is already running this service plan."
NOT_THERE = "This plan is not available in the Linode's region."
DISK_TOO_LARGE = (
    "Linode has allocated more disk than the new service plan allows. "
    "Delete or resize disks smaller."
)


@dataclass(frozen=True, slots=True)
class ResizeOrder:
    """What was asked for, unchecked. plan: its slug. grows_disk: to the new plan's size."""

    plan: str
    actor: str
    username: str
    grows_disk: bool = True


def resize(instance: Instance, order: ResizeOrder) -> Job:
    """Claim the new plan on the instance's own host, and have the guest moved to it.

    For as long as that takes the instance holds both. Raises InvalidRequest,
    QuotaExceeded, NoRoomToResize or InstanceBusy; then nothing was claimed or changed.
    """
    noted = refusals_noted(instance.account, order.plan, instance.region.slug)
    with noted, transaction.atomic():
        hold_gates()
        related = Instance.objects.select_related("account", "plan", "region", "image")
        seen = related.get(pk=instance.pk)
        plan = check(seen, order.plan)
        refuse_if_over(seen)
        # Account, host, instance: so does whoever claims, or looks at a host.
        if not admit_resize(seen, plan):
            check_quota(seen.account, plan, instead_of=seen.plan)
        lock_hosts_of(seen.uuid)
        locked = lifecycle.locked_at_rest(seen.pk)
        if locked.plan_id != seen.plan_id:
            raise InstanceBusy(lifecycle.BUSY)
        PendingResize.objects.create(
            instance=locked,
            plan=plan,
            claim_set=locked.claim_set + 1,
            grows_disk=order.grows_disk,
        )
        why = f"resize of {locked.label} for {locked.account.name}"
        _claim_beside(locked, plan, Actor(order.actor, why))
        is_on = status_of(locked) is Status.RUNNING
        lifecycle.advance(locked.pk, Phase.RESIZING)
        job = runner.create(
            JobKind.RESIZE if is_on else JobKind.RESIZE_OFF,
            locked,
            order.actor,
            order.username,
            deadline_s=deadline_s(plan),
        )
        enqueue_job(job.pk)
    return job


def check(instance: Instance, slug: str) -> Plan:
    """Return the plan of that slug if the instance may have it. Raises InvalidRequest."""
    offered = offer(slug, instance.region.slug, instance.account)
    plan = offered.plan
    if plan is None:
        # That its region is closed to newcomers is nothing to it.
        raise offered.refusal([e for e in offered.errors if e[0] == "type"])
    if not is_available([instance.region.flag_name], instance.account):
        raise offered.refusal([(None, NOT_THERE)])
    if problems := problems_of(instance, plan):
        raise InvalidRequest([(None, problem) for problem in problems])
    return plan


def problems_of(instance: Instance, plan: Plan) -> list[str]:
    """Return why the instance cannot have the plan, wherever there is room for it."""
    if plan.pk == instance.plan_id:
        return [SAME_PLAN]
    if instance.image.is_disk and plan.disk_mib < instance.plan.disk_mib:
        return [DISK_TOO_LARGE]
    return []


def _claim_beside(instance: Instance, plan: Plan, why: Actor) -> None:
    host = host_of(instance)
    if host is None:
        raise NoRoomToResize(plan.slug, "it holds nothing")
    locked = lock_host(host.pk)
    free = free_host(host.pk)
    placed = _placement(locked, free, plan)
    if isinstance(placed, NoFit):
        raise NoRoomToResize(plan.slug, str(placed))
    next_set = instance.claim_set + 1
    claim(free, placed.shares, instance.uuid, why, claim_set=next_set)
    refresh_shape(locked)


def _placement(host: Host, free: HostSnapshot, plan: Plan) -> Placement | NoFit:
    if not accepting_hosts().filter(pk=host.pk).exists():
        return NoFit()
    return place(request_of(plan), [free])


def plans_that_fit(instance: Instance, plans: list[Plan]) -> list[Plan]:
    """Return which of `plans` the instance could be resized to now; a query a plan."""
    host = host_of(instance)
    if host is None:
        return []
    free = free_host(host.pk)
    return [
        plan
        for plan in plans
        if not problems_of(instance, plan)
        and isinstance(_placement(host, free, plan), Placement)
    ]
