"""The fleet and the claim that both sides of the comparison have in common."""

import random

CARDS, CORES, MEMORY_MIB = 4, 32, 512 * 1024
CARD_CORES, CARD_MIB = 8, 64 * 1024


def used_cards(hosts: int, seed: int = 1) -> list[tuple[int, int]]:
    """Return the used cards of the two nodes of each host, half of all."""
    rng = random.Random(seed)
    nodes: list[int] = []
    while len(nodes) < 2 * hosts:
        used = rng.randint(0, CARDS)
        nodes += [used, CARDS - used]
    rng.shuffle(nodes)
    return [(nodes[2 * i], nodes[2 * i + 1]) for i in range(hosts)]
