"""Compare a host's domains with the instances and claims on it, both ways; pure.

It only tells: nothing here could take a card from a guest.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from instances.domain_xml import DomainSpec, resource_differences
from inventory.choices import DiscrepancyKind
from inventory.discovery import Finding
from inventory.hypervisor.port import DomainState
from inventory.observation import SeenDomain

K = DiscrepancyKind
_ON = (DomainState.RUNNING, DomainState.PAUSED, DomainState.SHUTTING_DOWN)


@dataclass(frozen=True, slots=True)
class ExpectedDomain:
    """An instance that holds claims on the host.

    spec: the domain that its claims describe. is_busy: a job works on it, or rows changed
    since the look: then it is not judged. has_instance: False for a claim whose instance
    is over or unknown.
    """

    consumer: str
    label: str
    spec: DomainSpec | None
    wants_running: bool
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
    def finding(kind: DiscrepancyKind, detail: str, subject: str = "") -> Finding:
        slot = subject.rpartition(".")[0]
        return Finding(
            kind,
            subject or each.consumer,
            f"{each.label}: {detail}",
            card_id=cards.get(slot),
            consumer=each.consumer,
        )

    if not each.has_instance:
        state = f"its domain is {seen.state}" if seen else "it has no domain"
        yield finding(K.CLAIM_UNUSED, f"the claim's instance is over; {state}")
        return
    if seen is None:
        yield finding(K.DOMAIN_MISSING, "the host has no domain of it")
        return
    if each.wants_running and seen.state not in _ON:
        yield finding(K.DOMAIN_OFF, f"its domain is {seen.state}")
    if seen.live is None or each.spec is None:
        yield finding(K.MEMORY_DIFFERS, "its domain's document cannot be read")
        return
    claimed, live = set(each.spec.hostdevs), set(seen.live.hostdevs)
    for address in sorted(claimed - live):
        yield finding(K.HOSTDEV_MISSING, f"{address} is not in it", str(address))
    for address in sorted(live - claimed):
        yield finding(K.UNCLAIMED_HOSTDEV, f"has {address} unclaimed", str(address))
    for what, want, have in resource_differences(each.spec, seen.live):
        if what == "cards":
            continue
        kind = K.CPUS_DIFFER if "CPU" in what else K.MEMORY_DIFFERS
        yield finding(kind, f"{what}: claimed {want}, running with {have}")


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
