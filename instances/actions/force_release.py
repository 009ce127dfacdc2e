"""Release what a machine holds that is gone, at a person's word and with their name on it.

The host is asked first. Only where it cannot be asked, and people have taken it out of use,
does the person's own proof count: it goes into the ledger with the reason.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from instances.choices import ENDED_JOB_STATES, JobKind, JobState, ReservationState
from instances.exceptions import InstanceBusy, NothingHeld, NotProvenGone
from instances.jobs import progress
from instances.jobs.subjects import Connector
from instances.models import Instance, Job, Reservation
from instances.release import release_all
from inventory.choices import HostPolicy
from inventory.exceptions import DomainNotFound, HypervisorError
from inventory.hypervisor.supervised import connect
from inventory.hypervisor.xml import parse_host
from inventory.ledger import Actor, clock, lock_host
from inventory.models import Host, NodeClaim

LOST = "The host of this machine was lost."
_REASON_CHARS = 500
# Above the driver's deadlines for all that a host is asked here.
_LEASE_S = 300
_OUT_OF_USE = (HostPolicy.MAINTENANCE, HostPolicy.RETIRED)


@dataclass(frozen=True, slots=True)
class ReleaseOrder:
    """consumer: whose claims. actor: user:NAME; username: as customers' events show it.

    proof: how the person knows that the machine is gone, for a host that cannot say so.
    """

    consumer: UUID
    actor: str
    username: str
    reason: str
    proof: str = ""


def force_release(
    order: ReleaseOrder, connect_to: Connector | None = None
) -> list[int]:
    """End every open claim of a consumer whose domain is gone; return the hosts' ids.

    Its instance ends too, and its open jobs. Blocks up to the driver's deadlines. Raises
    NothingHeld, InstanceBusy while a worker is at it, or NotProvenGone with what to do;
    then nothing has changed.
    """
    held = Reservation.objects.filter(
        uuid=order.consumer, state=ReservationState.ACTIVE
    ).first()
    if held is not None:
        raise NothingHeld(f"No machine has this: release {held} instead.")
    hosts = _hosts_of(order.consumer)
    if not hosts:
        raise NothingHeld(f"{order.consumer} holds nothing.")
    with _jobs_held(order.consumer) as token:
        proofs = [_proof_of(host, order, connect_to or connect) for host in hosts]
        with transaction.atomic():
            for host, proof in zip(hosts, proofs, strict=True):
                # Somebody may have put it in service again while it was asked.
                policy = lock_host(host.pk).policy
                if not proof.by_host and policy not in _OUT_OF_USE:
                    raise NotProvenGone(f"{host} is in use again: ask it once more.")
            said = "; ".join(proof.text for proof in proofs)
            why = f"force-release: {order.reason}. {said}"[:_REASON_CHARS]
            released = release_all(order.consumer, Actor(order.actor, why))
            _end(order, token, why)
    return released


def _hosts_of(consumer: UUID) -> list[Host]:
    """Return the hosts with open claims, by id: the order of their locks."""
    held = NodeClaim.objects.filter(consumer=consumer, released_at=None)
    return list(
        Host.objects.filter(pk__in=held.values("numa_node__host")).order_by("pk")
    )


@contextmanager
def _jobs_held(consumer: UUID) -> Iterator[UUID]:
    """Hold the lease of the consumer's open jobs: no worker brings it back meanwhile.

    What is still open at the end goes on as before.
    """
    token = uuid.uuid4()
    with transaction.atomic():
        jobs = list(
            Job.objects.select_for_update(of=("self",))
            .filter(instance__uuid=consumer)
            .exclude(state__in=ENDED_JOB_STATES)
        )
        now = clock()
        for job in jobs:
            if job.lease_expires_at is not None and job.lease_expires_at > now:
                raise InstanceBusy(
                    "Linode busy.",
                    f"A worker is at {job}: try again after "
                    f"{job.lease_expires_at:%H:%M:%S} UTC.",
                )
        Job.objects.filter(pk__in=[job.pk for job in jobs]).update(
            lease_token=token,
            lease_expires_at=Now() + timedelta(seconds=_LEASE_S),
            lease_holder="",
        )
    try:
        yield token
    finally:
        Job.objects.filter(lease_token=token).update(
            lease_token=None, lease_expires_at=None
        )


@dataclass(frozen=True, slots=True)
class _Proof:
    text: str
    by_host: bool


def _proof_of(host: Host, order: ReleaseOrder, connect_to: Connector) -> _Proof:
    problem = _ask(host, str(order.consumer), connect_to)
    if problem is None:
        return _Proof(f"{host} says that it has no such domain", by_host=True)
    if host.policy not in _OUT_OF_USE:
        raise NotProvenGone(
            f"{host} {problem}. If it is gone for good, put it in maintenance first, then "
            "say here what proves that the machine no longer runs."
        )
    if not order.proof.strip():
        raise NotProvenGone(
            f"proof: {host} {problem}. Say what proves that the machine no longer runs, "
            "such as: host switched off and its disks destroyed."
        )
    return _Proof(f"{order.proof.strip()} ({host} {problem})", by_host=False)


def _ask(host: Host, domain: str, connect_to: Connector) -> str | None:
    """Return why the host's word is no proof; None: it says that the domain is absent.

    Raises NotProvenGone if it has the domain.
    """
    try:
        hypervisor = connect_to(host.libvirt_uri)
        answering = parse_host(hypervisor.capabilities(), []).host_uuid
        if UUID(answering) != host.host_uuid:
            return f"answers as another host ({answering})"
        try:
            state = hypervisor.domain_state(domain)
        except DomainNotFound:
            return None
    except HypervisorError as error:
        return f"cannot be asked: {error}"
    raise NotProvenGone(
        f"{host} still has the domain {domain} ({state}): delete the instance, or remove "
        "the domain on the host. Nothing was released."
    )


def _end(order: ReleaseOrder, token: UUID, why: str) -> None:
    """End the instance and the jobs whose lease is ours; in the caller's transaction."""
    instance = Instance.objects.filter(uuid=order.consumer).first()
    if instance is None:
        return
    jobs = list(
        Job.objects.filter(lease_token=token).select_related("instance").order_by("pk")
    )
    for job in jobs:
        is_done = job.kind == JobKind.DELETE
        job.public_message = "" if is_done else LOST
        Job.objects.filter(pk=job.pk).update(
            state=JobState.SUCCEEDED if is_done else JobState.FAILED,
            public_message=job.public_message,
            internal_detail=why,
            finished_at=Now(),
            lease_token=None,
            lease_expires_at=None,
        )
        if is_done:
            progress.job_succeeded(job)
        else:
            progress.job_failed(job)
    progress.machine_lost(instance, order.username, LOST)
