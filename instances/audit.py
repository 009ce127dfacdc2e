"""Compare a host's domains with the instances and claims on it, both ways; pure.

It only tells: nothing here could take a card from a guest.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from instances.domain_record import (
    DomainRecord,
    InstanceRecord,
    Unreadable,
    read_record,
)
from instances.domain_xml import DomainSpec, resource_differences
from inventory.choices import DiscrepancyKind
from inventory.discovery import Finding
from inventory.hypervisor.xml import LiveDomain
from inventory.observation import SeenDomain

K = DiscrepancyKind


@dataclass(frozen=True, slots=True)
class ExpectedDomain:
    """An instance that holds claims on the host.

    spec: the domain that its claims describe. wants_running: whether it is amiss that it
    does not run; wants_off: whether it is that it does. is_busy: a job works on it, or rows
    changed since the look: then it is not judged. has_instance: False for a claim whose
    instance is over or unknown.
    """

    consumer: str
    label: str
    spec: DomainSpec | None
    wants_running: bool
    wants_off: bool
    is_busy: bool
    has_instance: bool


def audit(
    domains: Mapping[str, SeenDomain],
    expected: Iterable[ExpectedDomain],
    cards: Mapping[str, int],
    checks: Mapping[str, tuple[int, bool]],
    recent: frozenset[str] = frozenset(),
) -> list[Finding]:
    """Return every difference.

    domains: by UUID. cards: slot path -> card id. checks: UUID of a card's check guest ->
    (card id, whether a job works on the card). recent: UUIDs of holders that let go since
    the look.
    """
    findings: list[Finding] = []
    by_consumer = {each.consumer: each for each in expected}
    for each in by_consumer.values():
        if not each.is_busy:
            findings += _instance(each, domains.get(each.consumer), cards)
    for uuid, seen in sorted(domains.items()):
        if uuid in by_consumer or uuid in recent:
            continue
        card_id, is_busy = checks.get(uuid, (None, False))
        if not is_busy:
            findings += _stray(uuid, seen, cards, card_id)
    findings += _shared(domains, cards)
    return findings


def _instance(
    each: ExpectedDomain, seen: SeenDomain | None, cards: Mapping[str, int]
) -> Iterator[Finding]:
    if not each.has_instance:
        state = f"its domain is {seen.state}" if seen else "it has no domain"
        yield _about(each, K.CLAIM_UNUSED, f"the claim's instance is over; {state}")
    elif seen is None:
        yield _about(each, K.DOMAIN_MISSING, "the host has no domain of it")
    else:
        if each.wants_running and not seen.state.is_on:
            yield _about(each, K.DOMAIN_OFF, f"its domain is {seen.state}")
        if each.wants_off and seen.state.is_on:
            yield _about(each, K.DOMAIN_ON, f"its domain is {seen.state}")
        yield from _resources(each, seen, cards)


def _about(each: ExpectedDomain, kind: DiscrepancyKind, detail: str) -> Finding:
    return Finding(
        kind, each.consumer, f"{each.label}: {detail}", consumer=each.consumer
    )


def _resources(
    each: ExpectedDomain, seen: SeenDomain, cards: Mapping[str, int]
) -> Iterator[Finding]:
    if seen.live is None or each.spec is None:
        yield _about(each, K.MEMORY_DIFFERS, "its domain's document cannot be read")
        return
    claimed, live = set(each.spec.hostdevs), set(seen.live.hostdevs)
    for address in sorted(claimed ^ live):
        is_missing = address in claimed
        yield Finding(
            K.HOSTDEV_MISSING if is_missing else K.UNCLAIMED_HOSTDEV,
            str(address),
            f"{each.label}: {'lacks' if is_missing else 'has unclaimed'} {address}",
            card_id=cards.get(address.slot_path),
            consumer=each.consumer,
            # The guest may have the card of a claim that another makes next.
            prevents_claims=not is_missing,
        )
    differing: dict[DiscrepancyKind, list[str]] = defaultdict(list)
    for what, want, have in resource_differences(each.spec, seen.live):
        if what != "cards":
            kind = K.CPUS_DIFFER if "CPU" in what else K.MEMORY_DIFFERS
            differing[kind].append(f"{what}: claimed {want}, running with {have}")
    for kind, details in differing.items():
        yield replace(
            _about(each, kind, "; ".join(details)),
            # Rows say that what it has is free.
            prevents_claims=_takes_more(each.spec, seen.live),
        )
    yield from _changes(each, each.spec.record, seen.live)


def _takes_more(spec: DomainSpec, live: LiveDomain) -> bool:
    claimed = {cpu for cell in spec.cells for cpu in cell.claimed_cpus}
    pinned = {cpu for cpus in live.vcpu_pins.values() for cpu in cpus}
    return not pinned <= claimed or live.memory_mib > spec.memory_mib


def _changes(
    each: ExpectedDomain, row: InstanceRecord | None, live: LiveDomain
) -> Iterator[Finding]:
    """A domain never is ahead of its rows, unless they were restored from a backup."""
    record = read_record(live.instance_record)
    if row is None or not isinstance(record, DomainRecord):
        return
    told = record.instance
    changes = []
    if told.claim_set > row.claim_set:
        changes.append(f"resized to {told.plan}, the rows say {row.plan}")
    if told.generation > row.generation:
        changes.append(f"rebuilt from {told.image}, the rows say {row.image}")
    if changes:
        yield _about(each, K.GUEST_CHANGED, "; ".join(changes))


def _stray(
    uuid: str, seen: SeenDomain, cards: Mapping[str, int], check_of: int | None
) -> Iterator[Finding]:
    yield _unknown(uuid, seen, check_of)
    for address in seen.live.hostdevs if seen.live else ():
        card_id = cards.get(address.slot_path)
        if card_id is not None and card_id != check_of:
            yield Finding(
                K.UNCLAIMED_HOSTDEV,
                str(address),
                f"domain {uuid} has {address}, which nobody claimed for it",
                card_id=card_id,
                prevents_claims=True,
            )


def _unknown(uuid: str, seen: SeenDomain, check_of: int | None) -> Finding:
    record = read_record(seen.live.instance_record) if seen.live else None
    if record is not None and check_of is None:
        return Finding(
            K.UNKNOWN_GUEST,
            uuid,
            f"{_whose(record)}: {uuid} is {seen.state}",
            # It has cores, memory and an address, too, that rows say are free.
            prevents_claims=True,
        )
    what = "check guest that no job runs" if check_of else "domain of no instance"
    if seen.live is None:
        what += ", whose document cannot be read"
    return Finding(
        K.STRAY_DOMAIN,
        uuid,
        f"{what}: {uuid} is {seen.state}",
        card_id=check_of,
        prevents_claims=check_of is not None or seen.live is None,
    )


def _whose(record: DomainRecord | Unreadable) -> str:
    if isinstance(record, Unreadable):
        return f"its metadata cannot be read, {record.why}"
    told = record.instance
    return (
        f"{told.label or 'instance'} (number {told.number}, account "
        f"{told.account_uuid or told.account_number}, {told.plan})"
    )


def _shared(
    domains: Mapping[str, SeenDomain], cards: Mapping[str, int]
) -> Iterator[Finding]:
    users: dict[str, set[str]] = defaultdict(set)
    for uuid, seen in domains.items():
        for address in seen.live.hostdevs if seen.live else ():
            users[address.slot_path].add(uuid)
    for slot, uuids in sorted(users.items()):
        if len(uuids) > 1:
            yield Finding(
                K.CARD_IN_TWO_DOMAINS,
                slot,
                f"{slot} is in domains {', '.join(sorted(uuids))}",
                card_id=cards.get(slot),
                prevents_claims=True,
            )
