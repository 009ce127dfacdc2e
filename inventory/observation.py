"""Look at a whole host: hardware, domains and how long it has been up."""

from dataclasses import dataclass

from inventory.exceptions import HypervisorError, InvalidXml
from inventory.hypervisor.port import DomainState, Hypervisor
from inventory.hypervisor.xml import LiveDomain, parse_domain, parse_host
from inventory.topology import HostFacts

# More than any host of ours has.
MAX_DOMAINS = 2000


@dataclass(frozen=True, slots=True)
class SeenDomain:
    """live: None if its document cannot be read, so that nothing is known of it."""

    state: DomainState
    live: LiveDomain | None


@dataclass(frozen=True, slots=True)
class Observation:
    """domains: by UUID. cpu_seconds: since boot, over all CPUs; None if not told."""

    facts: HostFacts
    domains: dict[str, SeenDomain]
    cpu_seconds: float | None


def look(hypervisor: Hypervisor) -> Observation:
    """Return what the host reports; raises HypervisorError if any of it is missing.

    Blocks up to the driver's deadlines. States are read before documents: a domain that
    is in one and not in the other came or went meanwhile, and is left out.
    """
    states = hypervisor.domains()
    documents = hypervisor.domain_documents()
    if len(documents) > MAX_DOMAINS:
        # Each that is not known would be a discrepancy of its own.
        raise HypervisorError(f"{len(documents)} domains on one host cannot be")
    facts = parse_host(hypervisor.capabilities(), hypervisor.pci_devices())
    return Observation(
        facts,
        {
            uuid: SeenDomain(states[uuid], _parsed(document))
            for uuid, document in documents.items()
            if uuid in states
        },
        hypervisor.cpu_seconds(),
    )


def _parsed(document: str) -> LiveDomain | None:
    try:
        return parse_domain(document)
    except InvalidXml:
        # A stranger's domain may be of a kind that we do not read.
        return None
