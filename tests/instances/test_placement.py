"""place(): what it chooses, and what holds for every fleet and request."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instances.capacity import sellable_count
from instances.placement import NoFit, NumaPolicy, Placement, Request, place
from inventory.shape import host_of, shape_of
from inventory.topology import FreeCard, HostSnapshot, NodeSnapshot


def node(
    number: int, cards: int, cores: int = 4, mib: int = 4096, threads: int = 1
) -> NodeSnapshot:
    return NodeSnapshot(
        number,
        tuple(FreeCard(100 * number + i, "rtx6000") for i in range(cards)),
        tuple(
            tuple(1000 * number + core * threads + t for t in range(threads))
            for core in range(cores)
        ),
        mib,
    )


def host(host_id: int, *nodes: NodeSnapshot) -> HostSnapshot:
    return HostSnapshot(host_id, f"gpu{host_id}", nodes)


def request(cards: int, vcpus: int = 1, mib: int = 256, **fields: object) -> Request:
    model = "rtx6000" if cards else None
    return Request(vcpus, mib, cards, model, **fields)  # type: ignore[arg-type]


def chosen(placed: Placement | NoFit) -> tuple[int, dict[int, tuple[int, ...]]]:
    assert isinstance(placed, Placement), placed
    return placed.host_id, {share.node: share.card_ids for share in placed.shares}


def test_smallest_node_that_fits_is_taken() -> None:
    fleet = [host(1, node(0, 4), node(1, 2)), host(2, node(0, 3))]

    assert chosen(place(request(2), fleet)) == (1, {1: (100, 101)})


def test_fuller_host_breaks_the_tie() -> None:
    fleet = [host(1, node(0, 2), node(1, 2)), host(2, node(0, 2), node(1, 0))]

    assert chosen(place(request(1), fleet)) == (2, {0: (0,)})


def test_four_cards_split_evenly_over_two_nodes() -> None:
    placed = place(request(4, vcpus=4, mib=1000), [host(1, node(0, 2), node(1, 2))])

    assert chosen(placed) == (1, {0: (0, 1), 1: (100, 101)})
    assert isinstance(placed, Placement)
    assert [(s.vcpus, s.memory_mib) for s in placed.shares] == [(2, 500), (2, 500)]


def test_three_cards_split_in_proportion() -> None:
    placed = place(request(3, vcpus=3, mib=1000), [host(1, node(0, 2), node(1, 2))])

    assert isinstance(placed, Placement)
    assert sorted((len(s.card_ids), s.vcpus, s.memory_mib) for s in placed.shares) == [
        (1, 1, 334 - 1),
        (2, 2, 667),
    ]


def test_required_policy_refuses_to_split() -> None:
    placed = place(
        request(4, numa_policy=NumaPolicy.REQUIRED), [host(1, node(0, 2), node(1, 2))]
    )

    assert isinstance(placed, NoFit)
    assert str(placed) == "1 host: no node with 4 free cards (most: 2)"


def test_whole_cores_are_taken_with_their_siblings() -> None:
    placed = place(request(1, vcpus=3), [host(1, node(0, 1, cores=4, threads=2))])

    assert isinstance(placed, Placement)
    assert placed.shares[0].cpus == (0, 1, 2, 3)
    assert placed.shares[0].vcpus == 3


def test_plan_without_cards_stays_off_gpu_hosts() -> None:
    fleet = [host(1, node(0, 2)), host(2, node(0, 0))]

    assert chosen(place(request(0), fleet)) == (2, {0: ()})
    assert chosen(place(request(0), fleet[:1])) == (1, {0: ()})


def test_other_gpu_model_does_not_count() -> None:
    other = NodeSnapshot(0, (FreeCard(1, "h100"),), ((0,),), 4096)

    placed = place(request(1), [host(1, other)])

    assert str(placed) == "1 host: 0 of 1 cards free"


@pytest.mark.parametrize(
    ("asked", "nodes", "reason"),
    [
        (request(2), [node(0, 1)], "1 of 2 cards free"),
        (request(1, vcpus=8), [node(0, 1)], "4 of 8 CPUs free beside the cards"),
        (request(1, mib=9999), [node(0, 1)], "4096 of 9999 MiB free beside the cards"),
        (
            request(1, vcpus=2),
            [node(0, 1, cores=1), node(1, 0, cores=4)],
            "1 of 2 CPUs free beside the cards",
        ),
        (
            request(2, vcpus=4),
            [node(0, 1, cores=1), node(1, 1, cores=4)],
            "enough cards, CPUs and memory, but not side by side",
        ),
    ],
)
def test_refusal_names_the_missing_thing(
    asked: Request, nodes: list[NodeSnapshot], reason: str
) -> None:
    placed = place(asked, [host(1, *nodes)])

    assert str(placed) == f"1 host: {reason}"


def test_refusal_groups_hosts_by_reason() -> None:
    fleet = [host(1, node(0, 0)), host(2, node(0, 0)), host(3, node(0, 1, cores=0))]

    assert str(place(request(1), fleet)) == (
        "2 hosts: 0 of 1 cards free; 1 host: 0 of 1 CPUs free beside the cards"
    )


nodes_strategy = st.lists(
    st.tuples(
        st.integers(0, 4), st.integers(0, 6), st.integers(0, 2048), st.integers(1, 2)
    ),
    min_size=1,
    max_size=4,
)
fleets = st.lists(nodes_strategy, min_size=0, max_size=4).map(
    lambda hosts: [
        host(i + 1, *(node(n, c, k, m, t) for n, (c, k, m, t) in enumerate(nodes)))
        for i, nodes in enumerate(hosts)
    ]
)
requests = st.builds(
    request,
    cards=st.integers(0, 8),
    vcpus=st.integers(1, 8),
    mib=st.integers(1, 2048),
    numa_policy=st.sampled_from(NumaPolicy),
)


def node_can(asked: Request, found: NodeSnapshot) -> bool:
    return (
        len(found.cards) >= asked.cards
        and sum(map(len, found.cores)) >= asked.vcpus
        and found.memory_mib >= asked.memory_mib
    )


@given(fleets, requests)
def test_nothing_is_given_that_is_not_free(
    fleet: list[HostSnapshot], asked: Request
) -> None:
    placed = place(asked, fleet)

    if isinstance(placed, NoFit):
        assert set(placed.reasons) == {h.name for h in fleet}
        assert all(placed.reasons.values())
        return
    (on,) = [h for h in fleet if h.host_id == placed.host_id]
    by_number = {n.number: n for n in on.nodes}
    assert sum(len(s.card_ids) for s in placed.shares) == asked.cards
    assert sum(s.vcpus for s in placed.shares) == asked.vcpus
    assert sum(s.memory_mib for s in placed.shares) == asked.memory_mib
    for share in placed.shares:
        free = by_number[share.node]
        assert len(set(share.card_ids)) == len(share.card_ids)
        assert set(share.card_ids) <= {c.card_id for c in free.cards}
        assert len(set(share.cpus)) == len(share.cpus)
        cores = [core for core in free.cores if set(core) & set(share.cpus)]
        assert set(share.cpus) == {cpu for core in cores for cpu in core}
        assert 1 <= share.vcpus <= len(share.cpus)
        assert share.memory_mib <= free.memory_mib


@given(fleets, requests)
def test_one_node_whenever_one_node_can(
    fleet: list[HostSnapshot], asked: Request
) -> None:
    one_can = any(node_can(asked, n) for h in fleet for n in h.nodes)

    placed = place(asked, fleet)

    if one_can:
        assert isinstance(placed, Placement)
        assert not placed.is_split
    if asked.numa_policy is NumaPolicy.REQUIRED:
        assert isinstance(placed, Placement) == one_can


@given(fleets, requests, st.randoms())
def test_order_of_hosts_does_not_matter(
    fleet: list[HostSnapshot], asked: Request, random: object
) -> None:
    shuffled = list(fleet)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert place(asked, shuffled) == place(asked, fleet)


@given(fleets, requests)
def test_a_host_fits_exactly_when_its_shape_does(
    fleet: list[HostSnapshot], asked: Request
) -> None:
    for found in fleet:
        stand_in = host_of(shape_of(found))
        assert isinstance(place(asked, [found]), Placement) == isinstance(
            place(asked, [stand_in]), Placement
        )


@settings(max_examples=60)
@given(fleets, requests)
def test_repeated_launches_never_give_anything_twice(
    fleet: list[HostSnapshot], asked: Request
) -> None:
    left = list(fleet)
    taken: list[tuple[int, int]] = []
    count = 0
    while isinstance(placed := place(asked, left), Placement):
        count += 1
        ids = [c for s in placed.shares for c in s.card_ids]
        cpus = [c for s in placed.shares for c in s.cpus]
        taken += [(placed.host_id, cpu) for cpu in cpus]
        left = [
            h.without(
                cards=frozenset(ids),
                cpus=frozenset(cpus),
                memory={s.node: s.memory_mib for s in placed.shares},
            )
            if h.host_id == placed.host_id
            else h
            for h in left
        ]

    assert len(set(taken)) == len(taken)
    if asked.cards < 2 or asked.numa_policy is NumaPolicy.REQUIRED:
        assert sellable_count(asked, fleet) == count
