"""What is known of a host by its rows, for inventory.setup_files; no host is asked."""

from collections import defaultdict

from inventory.choices import GONE_CONDITIONS, NetworkKind
from inventory.hypervisor.console import CONSOLE_FOLDER, CONSOLE_POOL
from inventory.models import CardFunction, GuestSetup, Host, HostCpu, PciId
from inventory.models.guest_setup import setup_of
from inventory.setup_files import SetupFacts

GIB_KIB = 1 << 20


def setup_facts(
    name: str,
    *,
    clients: tuple[str, ...] = (),
    ssh_key: str = "",
    hugepages_gib: int | None = None,
) -> SetupFacts:
    """Return what is known of the host; of one that is not enrolled, what all need.

    hugepages_gib: pages of 1 GiB on each NUMA node; None: as the host had at its enrolment.
    """
    host = Host.objects.filter(name=name).first()
    guests = setup_of(host) if host else GuestSetup()
    is_bridge = guests.network_kind == NetworkKind.BRIDGE
    return SetupFacts(
        name=name,
        pci_ids=_pci_ids(host),
        hugepages=_hugepages(host, hugepages_gib),
        reserved_cpus=_reserved_cpus(host),
        pools={
            CONSOLE_POOL: CONSOLE_FOLDER,
            guests.image_pool: guests.image_folder,
            guests.disk_pool: guests.disk_folder,
        },
        network="" if is_bridge else guests.network_name,
        bridge=guests.network_name if is_bridge else "",
        clients=clients,
        ssh_key=ssh_key,
    )


def _pci_ids(host: Host | None) -> tuple[str, ...]:
    """Return the ids of its cards' functions, else of all models that are known."""
    if host is None:
        return tuple(PciId.objects.order_by("pci_id").values_list("pci_id", flat=True))
    functions = CardFunction.objects.filter(card__host=host).exclude(
        card__condition__in=GONE_CONDITIONS
    )
    return tuple(sorted(set(functions.values_list("pci_id", flat=True))))


def _hugepages(host: Host | None, wanted_gib: int | None) -> dict[int, dict[int, int]]:
    nodes = list(host.nodes.all()) if host else []
    if wanted_gib is not None:
        numbers = [node.number for node in nodes] or [0]
        return {GIB_KIB: dict.fromkeys(numbers, wanted_gib)}
    pages: dict[int, dict[int, int]] = defaultdict(dict)
    for node in nodes:
        for size_kib, count in node.hugepages.items():
            pages[int(size_kib)][node.number] = count
    return dict(pages)


def _reserved_cpus(host: Host | None) -> tuple[int, ...]:
    kept = HostCpu.objects.filter(numa_node__host=host, is_reserved=True)
    return tuple(kept.values_list("number", flat=True)) if host else ()
