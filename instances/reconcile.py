"""Compare hosts with rows, in both directions, and keep every difference as a Discrepancy.

It repairs nothing that could take a card from a running guest. The one thing that it
frees is a claim that no instance wants and whose domain the host has just denied.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from instances.audit import ExpectedDomain, audit
from instances.choices import (
    ABSENT,
    CUT_OFF,
    ENDED_JOB_STATES,
    STARTS,
    Desired,
    Phase,
    ReservationState,
)
from instances.domain_xml import DomainSpec
from instances.jobs.card_records import maintenance_uuid
from instances.jobs.leases import end_waiting
from instances.lifecycle import advance
from instances.log_context import about
from instances.models import Instance, Job, Reservation
from instances.release import release_all
from instances.selectors import specs_of
from instances.status import is_on
from inventory.choices import CardCondition, DiscrepancyKind, HostConnection, HostPolicy
from inventory.discovery import Finding
from inventory.discovery_rows import ACTOR, booted_since, follow
from inventory.exceptions import HypervisorError
from inventory.host_state import note_unreachable
from inventory.hypervisor.port import DomainState, Hypervisor
from inventory.hypervisor.schemes import added_opener
from inventory.hypervisor.supervised import connect
from inventory.ledger import (
    Actor,
    change_condition,
    clock,
    lock_host,
    refresh_shape,
)
from inventory.models import Card, CardClaim, Discrepancy, Host, NodeClaim
from inventory.observation import Observation, look

# A claim and its job are made in one transaction; what has had no job for so long never
# will.
UNUSED_CLAIM_S = 900
# A silent host is asked ever less often, so that many of them hold few workers.
_LONGEST_PAUSE_CYCLES = 8
_KNOWN_WHY = (DomainState.SHUT_DOWN, DomainState.CRASHED, CUT_OFF)
# A job's last events may come after its end.
_JUST_ENDED = timedelta(seconds=5)


def take_due_hosts() -> list[int]:
    """Return the hosts that are due, and set when each is due again; for one caller each."""
    cycle = timedelta(seconds=settings.RECONCILE_CYCLE_S)
    with transaction.atomic():
        due = list(
            Host.objects.select_for_update(skip_locked=True)
            .exclude(policy=HostPolicy.RETIRED)
            .filter(reconcile_due_at__lte=Now())
            .order_by("reconcile_due_at")
        )
        for host in due:
            pause = min(2 ** min(host.failed_looks, 10), _LONGEST_PAUSE_CYCLES) * cycle
            Host.objects.filter(pk=host.pk).update(reconcile_due_at=Now() + pause)
    return [host.pk for host in due]


def listened_hosts() -> dict[int, str]:
    """Return the libvirt URI of every host that tells of events that count, by host id."""
    hosts = Host.objects.exclude(policy=HostPolicy.RETIRED)
    uris = dict(hosts.values_list("pk", "libvirt_uri"))
    return {pk: uri for pk, uri in uris.items() if added_opener(uri) is None}


def make_due(news: Mapping[int, set[str]]) -> None:
    """Have hosts looked at now on which something happened that is no job's work.

    news: host id -> domains' UUIDs and devices' names. Two queries.
    """
    just_ended = Q(finished_at__gt=Now() - _JUST_ENDED) & ~Q(kind__in=STARTS)
    working = Job.objects.filter(~Q(state__in=ENDED_JOB_STATES) | just_ended)
    expected = {
        maintenance_uuid(card_id) if card_id else str(uuid)
        for card_id, uuid in working.values_list("card_id", "instance__uuid")
    }
    due = [host_id for host_id, subjects in news.items() if subjects - expected]
    Host.objects.filter(pk__in=due, reconcile_due_at__gt=Now()).update(
        reconcile_due_at=Now()
    )


def leave_due(job_ids: Iterable[int]) -> None:
    """Leave jobs that may go on to the reaper, which comes once a minute."""


def reconcile(
    host_id: int,
    hypervisor: Hypervisor | None = None,
    go_on: Callable[[Iterable[int]], None] = leave_due,
) -> list[Discrepancy]:
    """Look at one host and bring its discrepancies up to date; return the open ones.

    Blocks up to the driver's deadlines. A host that does not answer becomes unknown, and
    nothing else about it changes. go_on: is given the jobs that wait for a host which was
    silent, in the transaction that says that it no longer is.
    """
    with about(host=host_id):
        return _reconcile(host_id, hypervisor, go_on)


def _reconcile(
    host_id: int,
    hypervisor: Hypervisor | None,
    go_on: Callable[[Iterable[int]], None],
) -> list[Discrepancy]:
    host = Host.objects.get(pk=host_id)
    began = clock()
    try:
        seen = look(hypervisor or connect(host.libvirt_uri))
    except HypervisorError as error:
        note_unreachable(host_id, str(error), began)
        return open_discrepancies(host_id)
    with transaction.atomic():
        host = lock_host(host_id)
        if host.policy == HostPolicy.RETIRED:
            return []
        if host.reconciled_at is not None and host.reconciled_at > began:
            # A look that began later is in already: what this one saw is out of date.
            return open_discrepancies(host_id)
        if UUID(seen.facts.host_uuid) != host.host_uuid:
            other = _replaced(host, seen)
            _keep(host, [other], began)
            note_unreachable(host_id, other.detail)
            return open_discrepancies(host_id)
        findings = follow(host, seen, began)
        findings += _audit(host, seen, began)
        _keep(host, findings, began)
        _distrust(host, findings, began)
        # A look that began while the host was still in maintenance shows too little.
        is_current = host.policy_changed_at is None or host.policy_changed_at <= began
        if host.connection != HostConnection.OK:
            go_on(end_waiting(host_id))
        Host.objects.filter(pk=host_id).update(
            connection=HostConnection.OK if is_current else host.connection,
            last_seen_at=began,
            reconciled_at=began,
            failed_looks=0,
            cpu_seconds=seen.cpu_seconds,
        )
        refresh_shape(host)
    return open_discrepancies(host_id)


def _distrust(host: Host, findings: Iterable[Finding], began: datetime) -> None:
    """Take cards off sale that a guest has which does not hold them.

    What such a guest leaves in a card is scrubbed like a tenant's, once it is gone.
    """
    strange = {
        finding.card_id
        for finding in findings
        if finding.card_id and finding.kind is DiscrepancyKind.UNCLAIMED_HOSTDEV
    }
    held = CardClaim.objects.filter(card=OuterRef("pk"), released_at=None)
    ready = host.cards.filter(
        ~Exists(held),
        pk__in=strange,
        condition=CardCondition.READY,
        condition_changed_at__lt=began,
    )
    for card in ready:
        why = Actor(ACTOR, "a guest has it that does not hold it: to be scrubbed")
        change_condition(card, CardCondition.UNVERIFIED, why)


def open_discrepancies(host_id: int) -> list[Discrepancy]:
    """Return a host's open discrepancies, oldest first."""
    return list(
        Discrepancy.objects.filter(host_id=host_id, resolved_at=None)
        .select_related("host", "card__host")
        .order_by("pk")
    )


def _replaced(host: Host, seen: Observation) -> Finding:
    return Finding(
        DiscrepancyKind.HOST_REPLACED,
        seen.facts.host_uuid,
        f"{host.libvirt_uri} answers as host {seen.facts.host_uuid}, enrolled was "
        f"{host.host_uuid}",
        prevents_claims=True,
    )


def _audit(host: Host, seen: Observation, began: datetime) -> list[Finding]:
    held = (
        NodeClaim.objects.filter(numa_node__host=host)
        .filter(Q(released_at=None) | Q(released_at__gt=began))
        .values_list("consumer", "claimed_at", "released_at")
    )
    open_since: dict[UUID, datetime] = {}
    recent = set()
    for consumer, claimed_at, released_at in held:
        if released_at is None:
            open_since[consumer] = claimed_at
        else:
            recent.add(str(consumer))
    instances = {
        i.uuid: i
        for i in Instance.objects.filter(uuid__in=open_since).select_related(
            "account", "plan", "region", "image"
        )
    }
    busy = set(
        Job.objects.filter(instance__uuid__in=open_since)
        .exclude(state__in=ENDED_JOB_STATES)
        .values_list("instance__uuid", flat=True)
    )
    specs = specs_of({consumer: instances.get(consumer) for consumer in open_since})
    holds = set(
        Reservation.objects.filter(
            uuid__in=open_since, state=ReservationState.ACTIVE
        ).values_list("uuid", flat=True)
    )
    has_booted = booted_since(host, seen, began)
    states = {
        uuid: _state_of(instance, seen, has_booted=has_booted)
        for uuid, instance in instances.items()
    }
    expected = []
    for consumer, claimed_at in sorted(open_since.items()):
        if consumer in holds:
            # It ends by its own time, and until then there is to be no domain of it.
            continue
        each = _expected(
            consumer,
            specs.get(consumer),
            instances.get(consumer),
            states.get(consumer, ABSENT),
            is_busy=consumer in busy or claimed_at > began,
            began=began,
        )
        if _is_expired(each, claimed_at, began) and str(consumer) not in seen.domains:
            _release_unused(consumer, instances.get(consumer))
            continue
        expected.append(each)
    _note_states(instances, states, began)
    # Who was in a slot before may still have a row there: the card of today comes last.
    rows = host.cards.exclude(condition=CardCondition.RETIRED).values_list(
        "slot_path", "pk", "condition"
    )
    cards = {
        slot: pk
        for slot, pk, _ in sorted(rows, key=lambda r: r[2] != CardCondition.MISSING)
    }
    return audit(seen.domains, expected, cards, _checks(host, began), frozenset(recent))


def _expected(
    consumer: UUID,
    spec: DomainSpec | None,
    instance: Instance | None,
    state: str,
    *,
    is_busy: bool,
    began: datetime,
) -> ExpectedDomain:
    is_live = instance is not None and not instance.is_ended
    never_used = (
        is_live
        and instance is not None
        and instance.ready_at is None
        and instance.phase != Phase.DELETING
        and not is_busy
    )
    return ExpectedDomain(
        consumer=str(consumer),
        label=instance.label if instance else f"claim of {consumer}",
        spec=spec,
        wants_running=instance is not None
        and instance.desired == Desired.RUNNING
        # Its guest switched itself off, and may.
        and state != DomainState.SHUT_DOWN,
        wants_off=instance is not None and instance.desired == Desired.OFF,
        is_busy=is_busy or (instance is not None and instance.updated_at > began),
        has_instance=is_live and not never_used,
    )


def _is_expired(each: ExpectedDomain, claimed_at: datetime, now: datetime) -> bool:
    age = now - claimed_at
    unused = not each.has_instance and not each.is_busy
    return unused and age > timedelta(seconds=UNUSED_CLAIM_S)


def _release_unused(consumer: UUID, instance: Instance | None) -> None:
    """The host has just answered that it has no such domain, and no job will make it."""
    why = Actor(ACTOR, "claim was never used, and its domain is absent")
    release_all(consumer, why)
    if instance is not None and not instance.is_ended:
        advance(instance.pk, Phase.FAILED)


def _state_of(instance: Instance, seen: Observation, *, has_booted: bool) -> str:
    """Return what to note: how it came to be off is known when that is seen first.

    libvirt forgets it when it is restarted, and never knows of its host's last hour.
    """
    domain = seen.domains.get(str(instance.uuid))
    if domain is None:
        return ABSENT
    if domain.state is not DomainState.OFF:
        return domain.state
    if instance.observed in _KNOWN_WHY:
        return instance.observed
    return CUT_OFF if has_booted and is_on(instance.observed) else DomainState.OFF


def _note_states(
    instances: Mapping[UUID, Instance], states: Mapping[UUID, str], began: datetime
) -> None:
    by_state: dict[str, list[int]] = defaultdict(list)
    for uuid, instance in instances.items():
        if not instance.is_ended:
            by_state[states[uuid]].append(instance.pk)
    for state, pks in by_state.items():
        # Not `updated_at`: to look at a machine is no change of it.
        Instance.objects.filter(pk__in=pks).filter(
            Q(observed_at=None) | Q(observed_at__lt=began)
        ).update(observed=state, observed_at=began)


def _checks(host: Host, began: datetime) -> dict[str, tuple[int, bool]]:
    """Return the UUID of each card's check guest -> (card id, a job works on it)."""
    recent = Q(finished_at__gt=began) | ~Q(state__in=ENDED_JOB_STATES)
    busy = set(
        Job.objects.filter(recent, card__host=host).values_list("card_id", flat=True)
    )
    return {
        maintenance_uuid(pk): (pk, pk in busy)
        for pk in Card.objects.filter(host=host).values_list("pk", flat=True)
    }


def _keep(host: Host, findings: Iterable[Finding], now: datetime) -> None:
    """Open what is new, renew what goes on, resolve what is no longer seen."""
    known = {
        (row.kind, row.subject): row
        for row in Discrepancy.objects.filter(host=host, resolved_at=None)
    }
    still = set()
    for finding in findings:
        key = (str(finding.kind), finding.subject[:160])
        if key in still:
            continue
        still.add(key)
        values = {
            "card_id": finding.card_id,
            "consumer": finding.consumer,
            "detail": finding.detail[:1000],
            "prevents_claims": finding.prevents_claims,
            "last_seen_at": now,
        }
        row = known.get(key)
        if row is None:
            Discrepancy.objects.create(
                host=host, kind=key[0], subject=key[1], first_seen_at=now, **values
            )
        else:
            Discrepancy.objects.filter(pk=row.pk).update(**values)
    over = [row.pk for key, row in known.items() if key not in still]
    Discrepancy.objects.filter(pk__in=over).update(resolved_at=now)
