"""Compare a host's domains with the instances and claims on it, both ways; pure.

It only tells: nothing here could take a card from a guest.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from instances.domain_xml import DomainSpec, resource_differences
from inventory.choices import DiscrepancyKind
from inventory.discovery import Finding
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
        yield _about(each, kind, "; ".join(details))


def _stray(
    uuid: str, seen: SeenDomain, cards: Mapping[str, int], check_of: int | None
) -> Iterator[Finding]:
    what = "check guest that no job runs" if check_of else "domain of no instance"
    yield Finding(
        K.STRAY_DOMAIN,
        uuid,
        f"{what}: {uuid} is {seen.state}",
        card_id=check_of,
        prevents_claims=check_of is not None,
    )
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
