"""Ask a host what inventory.preflight judges; nothing stays on it but the console pool."""

import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import uuid4

from django.conf import settings

from inventory.cards import CardFinding, find_cards, sellable
from inventory.choices import CardCondition
from inventory.enrolment import observe
from inventory.exceptions import (
    DomainNotFound,
    HostUnreachable,
    HypervisorError,
)
from inventory.hypervisor.check_domain import build_check_domain
from inventory.hypervisor.console import (
    CONSOLE_FOLDER,
    CONSOLE_POOL,
    console_file,
    console_volume,
)
from inventory.hypervisor.port import DomainState, Hypervisor
from inventory.hypervisor.supervised import open_own
from inventory.hypervisor.xml import parse_domain, pci_backends, phys_bits
from inventory.models import Card, CardClaim, GpuModel, PciId
from inventory.preflight import CheckLine, GuestTrial, HostReport, check, problem_of
from inventory.topology import HostFacts

# More than the 64 MiB that systemd lets libvirtd lock by default: less proves nothing.
GUEST_MEMORY_MIB = 128
# A ready card may be sold at any moment, and its own test has proven what a trial would;
# one in a check is about to start; one in quarantine would tell of itself, not the host.
_SPARE = (CardCondition.UNVERIFIED, CardCondition.DIRTY)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TrialOrder:
    """Take a spare card for a moment and start a guest with it.

    kernel: a file on the host; empty: that of the model's test image. card: the slot to
    take, such as 0000:21:00; empty: any.
    """

    kernel: str = ""
    card: str = ""


def check_host(
    uri: str,
    *,
    trial: TrialOrder | None = None,
    hypervisor: Hypervisor | None = None,
) -> list[CheckLine]:
    """Return what is right and wrong with the host at `uri`; raises nothing of its own.

    Blocks up to the driver's deadlines. trial: None starts no guest.
    """
    if problem := problem_of(uri):
        return check(HostReport(uri, unreachable=problem))
    if hypervisor is not None:
        return check(_report(uri, _Questions(hypervisor), trial))
    # A connection of its own: a shared one may be long dead, or busy with a launch.
    with closing(open_own(uri)) as own:
        return check(_report(uri, _Questions(own), trial))


@dataclass(slots=True)
class _Questions:
    """Asks one question after another, and none of a host that fell silent."""

    hypervisor: Hypervisor
    refusals: dict[str, str] = field(default_factory=dict)
    silence: str = ""

    def ask(self, name: str, question: Callable[[], T]) -> T | None:
        if self.silence:
            self.refusals[name] = f"not asked: {self.silence}"
            return None
        try:
            return question()
        except HostUnreachable as error:
            self.silence = str(error)
            self.refusals[name] = str(error)
        except HypervisorError as error:
            self.refusals[name] = str(error)
        return None


def _report(uri: str, asked: _Questions, order: TrialOrder | None) -> HostReport:
    host = asked.hypervisor
    versions = asked.ask("versions", host.versions)
    if asked.silence:
        why = asked.silence.removeprefix(f"{uri}: ")
        return HostReport(uri, unreachable=f"{uri} does not answer: {why}")
    facts = asked.ask("facts", lambda: observe(host))
    models = dict(PciId.objects.values_list("pci_id", "gpu_model__slug"))
    cards = tuple(find_cards(facts, models)) if facts else ()
    kind = facts.domain_type if facts else "kvm"
    backends = asked.ask(
        "pci_backends", lambda: pci_backends(host.domain_capabilities(kind))
    )
    trial = None if order is None else _try_guest(host, facts, cards, order)
    return HostReport(
        uri=uri,
        is_lab=settings.LAB,
        console_pool=CONSOLE_POOL,
        facts=facts,
        cards=cards,
        versions=versions,
        pci_backends=backends or (),
        free_pages=asked.ask("free_pages", lambda: _free_pages(host, facts)) or {},
        pools=asked.ask("pools", host.pools) or {},
        networks=asked.ask("networks", host.networks) or {},
        clock_skew_s=asked.ask("clock", lambda: _clock_skew(host)),
        phys_bits=(asked.ask("phys_bits", lambda: phys_bits(host.capabilities()))),
        bar_mib={
            model.slug: model.bar_mib or model.memory_mib
            for model in GpuModel.objects.all()
        },
        trial=trial,
        refusals=asked.refusals,
    )


def _free_pages(
    host: Hypervisor, facts: HostFacts | None
) -> dict[tuple[int, int], int]:
    if facts is None:
        raise HypervisorError("its NUMA nodes are not known")
    return {
        (node.number, size): host.free_pages(node.number, size)
        for node in facts.nodes
        for size, total in node.hugepages
        if total
    }


def _clock_skew(host: Hypervisor) -> float | None:
    before = time.time()
    theirs = host.clock(CONSOLE_POOL)
    return None if theirs is None else theirs - (before + time.time()) / 2


def _try_guest(
    host: Hypervisor,
    facts: HostFacts | None,
    cards: tuple[CardFinding, ...],
    order: TrialOrder,
) -> GuestTrial:
    """Start a guest with a spare card, look at it and remove it."""
    if facts is None:
        return GuestTrial("", "not tried: it is not known what the host is made of")
    try:
        spare = _spare_cards(host, facts, cards)
    except HypervisorError as error:
        return GuestTrial("", f"not tried: {error}")
    asked_for = [
        finding for finding in spare if order.card in ("", finding.card.slot_path)
    ]
    if not asked_for:
        which = order.card or "every card"
        return GuestTrial(
            "",
            f"not tried: {which} is in use, in a check, for sale, not there, or unfit as "
            "told above",
        )
    finding = asked_for[0]
    kernel_path, initrd_path = order.kernel, ""
    if not kernel_path:
        image = GpuModel.objects.select_related("test_image").get(slug=finding.model)
        if image.test_image is None:
            return GuestTrial(
                "", "not tried: the GPU model has no test image; give --kernel"
            )
        kernel_path = image.test_image.kernel_path
        initrd_path = image.test_image.initrd_path
    return _run_guest(host, facts.domain_type, finding, kernel_path, initrd_path)


def _spare_cards(
    host: Hypervisor, facts: HostFacts, cards: tuple[CardFinding, ...]
) -> list[CardFinding]:
    """Return the fit cards that no domain has, even one that is off, and no claim.

    Raises HypervisorError: a host that does not list its domains gives no card away.
    """
    used = {
        address.slot_path
        for document in host.domain_documents().values()
        for address in parse_domain(document).hostdevs
    }
    rows = Card.objects.filter(host__host_uuid=facts.host_uuid).exclude(
        condition__in=[CardCondition.MISSING, CardCondition.RETIRED]
    )
    used.update(
        rows.exclude(condition__in=_SPARE).values_list("slot_path", flat=True),
        CardClaim.objects.filter(card__in=rows, released_at=None).values_list(
            "card__slot_path", flat=True
        ),
    )
    fit = {sold.card.slot_path for sold in sellable(cards)} - used
    # Enrolled cards last: maintenance may want one of them at the same moment.
    enrolled = set(rows.values_list("slot_path", flat=True))
    free = [finding for finding in cards if finding.card.slot_path in fit]
    free.sort(key=lambda finding: finding.card.slot_path in enrolled)
    return free


def _run_guest(
    host: Hypervisor, domain_type: str, finding: CardFinding, kernel: str, initrd: str
) -> GuestTrial:
    slot, uuid = finding.card.slot_path, str(uuid4())
    name = f"gpucloud-preflight-{uuid[:8]}"
    problem = leftover = ""
    try:
        host.ensure_folder_pool(CONSOLE_POOL, CONSOLE_FOLDER)
        host.define_domain(
            build_check_domain(
                uuid=uuid,
                name=name,
                title=f"check of the host with {slot}",
                domain_type=domain_type,
                kernel_path=kernel,
                initrd_path=initrd,
                cmdline="",
                memory_mib=GUEST_MEMORY_MIB,
                functions=tuple(f.address for f in finding.card.functions),
                node=finding.node,
                cpus=(),
                console_file=console_file(uuid),
                metadata={"kind": "preflight", "card": slot},
            )
        )
        host.start_domain(uuid)
        problem = _not_running(host, uuid)
    except HypervisorError as error:
        problem = str(error)
    finally:
        # Also on Ctrl-C: a guest that stays holds a card that is about to be sold.
        leftover = _remove(host, uuid, name)
    return GuestTrial(slot, problem, leftover)


def _not_running(host: Hypervisor, uuid: str) -> str:
    """Return why the guest does not count as run; a quick kernel may be over already."""
    state = host.domain_state(uuid)
    if state is DomainState.RUNNING:
        return ""
    if host.read_volume_tail(CONSOLE_POOL, console_volume(uuid), 1):
        return ""
    return f"the guest is {state} at once and printed nothing"


def _remove(host: Hypervisor, uuid: str, name: str) -> str:
    """Have no such guest and no console of it; return what is left and why, if anything."""
    try:
        with suppress(DomainNotFound):
            host.destroy_domain(uuid)
            host.undefine_domain(uuid)
        host.delete_volume(CONSOLE_POOL, console_volume(uuid))
    except HypervisorError as error:
        return f"{name} or its console may be left on the host: {error}"
    return ""
