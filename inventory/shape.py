"""The free shape of a host: a text that is equal for hosts that a claim cannot tell apart.

The claim ranks the few distinct shapes of a fleet instead of its many hosts, and finds a
host of the best shape by an index (DESIGN.md section 4).
"""

from collections import Counter

from inventory.topology import FreeCard, HostSnapshot, NodeSnapshot


def shape_of(host: HostSnapshot) -> str:
    """Return the shape, such as "rtx6000=2 c2x1 m1280|rtx6000=1 c1x1 m1024".

    Per node: free cards by model, free cores by threads a core, free memory in MiB.
    Node numbers are left out and nodes are sorted, since place() does not depend on them.
    """
    return "|".join(sorted(_node_shape(node) for node in host.nodes))


def _node_shape(node: NodeSnapshot) -> str:
    cards = Counter(card.model for card in node.cards)
    cores = Counter(len(core) for core in node.cores)
    return " ".join(
        [f"{model}={count}" for model, count in sorted(cards.items())]
        + [f"c{count}x{threads}" for threads, count in sorted(cores.items())]
        + [f"m{node.memory_mib}"]
    )


def host_of(shape: str) -> HostSnapshot:
    """Return a stand-in host of that shape; its card ids and CPU numbers are made up."""
    nodes = []
    serial = 0
    for number, text in enumerate(shape.split("|")):
        cards: list[FreeCard] = []
        cores: list[tuple[int, ...]] = []
        memory_mib = 0
        for word in text.split():
            if "=" in word:
                model, count = word.split("=")
                cards += [FreeCard(serial + i, model) for i in range(int(count))]
                serial += int(count)
            elif word[0] == "c":
                count, threads = word[1:].split("x")
                cores += [(0,) * int(threads)] * int(count)
            else:
                memory_mib = int(word[1:])
        nodes.append(NodeSnapshot(number, tuple(cards), tuple(cores), memory_mib))
    return HostSnapshot(0, shape, tuple(nodes))
