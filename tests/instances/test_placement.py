"""place(): what it chooses, and what holds for every fleet and request."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instances.capacity import sellable_count
from instances.demand import share_out
from instances.fitting import after, fit
from instances.placement import NoFit, NumaPolicy, Placement, Request, place
from inventory.shape import room_in, room_of, shape_of, shape_text
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
    has_cards = any(found.cards for found in nodes)
    return HostSnapshot(host_id, f"gpu{host_id}", nodes, has_cards)


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


@st.composite
def node_snapshots(draw: st.DrawFn, number: int) -> NodeSnapshot:
    """Draw a node with up to 4 cards of two models, cores of one or two threads, pages."""
    models = draw(st.lists(st.sampled_from(("rtx6000", "rtx6000", "h100")), max_size=4))
    widths = draw(st.lists(st.integers(1, 2), max_size=5))
    first = 1000 * number
    cores = []
    for width in widths:
        cores.append(tuple(range(first, first + width)))
        first += width
    pages = draw(st.integers(0, 512))
    return NodeSnapshot(
        number,
        tuple(FreeCard(100 * number + i, model) for i, model in enumerate(models)),
        tuple(cores),
        draw(st.integers(0, 2048)),
        ((2048, pages),) if pages else (),
        draw(st.integers(0, 2)),
    )


@st.composite
def host_snapshots(draw: st.DrawFn, host_id: int) -> HostSnapshot:
    count = draw(st.sampled_from((1, 2, 4)))
    nodes = tuple(draw(node_snapshots(number)) for number in range(count))
    has_cards = any(node.cards for node in nodes) or draw(st.booleans())
    return HostSnapshot(host_id, f"gpu{host_id}", nodes, has_cards)


@st.composite
def fleet_snapshots(draw: st.DrawFn) -> list[HostSnapshot]:
    return [draw(host_snapshots(i + 1)) for i in range(draw(st.integers(0, 4)))]


@st.composite
def any_request(draw: st.DrawFn) -> Request:
    cards = draw(st.sampled_from((0, 1, 2, 3, 4, 8)))
    policy = draw(st.sampled_from(NumaPolicy))
    spread = policy is NumaPolicy.SPREAD
    least = 2 if spread else 1
    most = min(4, cards) if cards else 4
    if spread and most < 2:
        policy, spread = NumaPolicy.PREFERRED, False
    hugepage_kib = draw(st.sampled_from((0, 0, 2048)))
    return Request(
        vcpus=draw(st.integers(4, 8) if spread else st.integers(1, 8)),
        memory_mib=2 * draw(st.integers(4, 700)),
        cards=cards,
        gpu_model="rtx6000" if cards else None,
        numa_policy=policy,
        numa_nodes=draw(st.integers(least, most)) if spread else 0,
        hugepage_kib=hugepage_kib,
        on_gpu_hosts=draw(st.booleans()),
    )


fleets = fleet_snapshots()
requests = any_request()
# More than the suite's profile; a longer profile keeps its own number.
often = settings(max_examples=max(150, settings.default.max_examples))


def part_fits(
    asked: Request, found: NodeSnapshot, cards: int, vcpus: int, mib: int
) -> bool:
    memory = found.memory_mib
    if asked.hugepage_kib:
        memory = (
            dict(found.pages).get(asked.hugepage_kib, 0) * asked.hugepage_kib // 1024
        )
    return (
        len(found.free_cards("rtx6000")) >= cards
        and sum(map(len, found.cores)) >= vcpus
        and memory >= mib
    )


def one_node_can(asked: Request, found: HostSnapshot) -> bool:
    if not asked.cards and found.has_cards and not asked.on_gpu_hosts:
        return False
    return any(
        part_fits(asked, n, asked.cards, asked.vcpus, asked.memory_mib)
        for n in found.nodes
    )


@often
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
        assert set(share.card_ids) <= {c.card_id for c in free.free_cards("rtx6000")}
        assert len(set(share.cpus)) == len(share.cpus)
        cores = [core for core in free.cores if set(core) & set(share.cpus)]
        assert set(share.cpus) == {cpu for core in cores for cpu in core}
        assert 1 <= share.vcpus <= len(share.cpus)
        assert share.hugepage_kib == asked.hugepage_kib
        assert part_fits(
            asked, free, len(share.card_ids), share.vcpus, share.memory_mib
        )
        assert not asked.hugepage_kib or share.memory_mib % 2 == 0


@often
@given(fleets, requests)
def test_policy_is_kept(fleet: list[HostSnapshot], asked: Request) -> None:
    one_can = any(one_node_can(asked, h) for h in fleet)

    placed = place(asked, fleet)

    if asked.numa_policy is NumaPolicy.REQUIRED:
        assert isinstance(placed, Placement) == one_can
    elif asked.numa_policy is NumaPolicy.PREFERRED and one_can:
        assert isinstance(placed, Placement)
    if asked.numa_policy is not NumaPolicy.SPREAD and one_can:
        assert isinstance(placed, Placement)
        assert not placed.is_split
    if asked.numa_policy is NumaPolicy.SPREAD and isinstance(placed, Placement):
        counts = [len(share.card_ids) for share in placed.shares]
        assert len(counts) == asked.numa_nodes
        assert max(counts) - min(counts) <= 1


def every_way(asked: Request, found: HostSnapshot) -> list[tuple[int, ...]]:
    """Return all card counts by node, tried one by one, that the host can hold."""
    if not asked.cards and found.has_cards and not asked.on_gpu_hosts:
        return []
    fitting = []
    spread = asked.numa_policy is NumaPolicy.SPREAD
    for counts in product(range(asked.cards + 1), repeat=len(found.nodes)):
        used = [i for i, count in enumerate(counts) if count]
        if sum(counts) != asked.cards or (
            spread
            and (
                len(used) != asked.numa_nodes
                or max(counts) - min(counts[i] for i in used) > 1
            )
        ):
            continue
        if len(used) > 1 and asked.numa_policy is NumaPolicy.REQUIRED:
            continue
        shares = share_out(asked, {i: counts[i] for i in used})
        if shares and all(
            part_fits(asked, found.nodes[i], d.cards, d.vcpus, d.memory_mib)
            for i, d in shares.items()
        ):
            fitting.append(counts)
    return fitting


@often
@given(fleets, requests.filter(lambda asked: asked.cards > 0))
def test_it_fits_exactly_where_some_way_to_split_it_does(
    fleet: list[HostSnapshot], asked: Request
) -> None:
    for found in fleet:
        ways = every_way(asked, found)

        placed = place(asked, [found])

        assert isinstance(placed, Placement) == bool(ways)
        if isinstance(placed, Placement):
            fewest = min(sum(1 for c in counts if c) for counts in ways)
            assert len(placed.shares) == fewest


@often
@given(fleets, requests, st.randoms())
def test_order_of_hosts_does_not_matter(
    fleet: list[HostSnapshot], asked: Request, random: object
) -> None:
    shuffled = list(fleet)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert place(asked, shuffled) == place(asked, fleet)


@often
@given(fleets, requests)
def test_a_host_fits_exactly_when_its_shape_does(
    fleet: list[HostSnapshot], asked: Request
) -> None:
    for found in fleet:
        fits = fit(asked, room_in(shape_of(found))) is not None
        assert isinstance(place(asked, [found]), Placement) == fits


@often
@given(fleets, requests)
def test_host_of_the_best_shape_is_as_good_as_the_one_chosen(
    fleet: list[HostSnapshot], asked: Request
) -> None:
    placed = place(asked, fleet)

    if isinstance(placed, Placement):
        ranks = {h.host_id: fit(asked, room_in(shape_of(h))) for h in fleet}
        best = min(found.rank for found in ranks.values() if found)
        chosen_fit = ranks[placed.host_id]
        assert chosen_fit is not None
        assert chosen_fit.rank == best


@often
@given(fleets, requests)
def test_sellable_is_how_often_it_can_be_launched(
    fleet: list[HostSnapshot], asked: Request
) -> None:
    sellable = sellable_count(asked, fleet)

    left = list(fleet)
    taken: list[tuple[int, int]] = []
    for _ in range(sellable):
        placed = place(asked, left)
        assert isinstance(placed, Placement)
        taken += [(placed.host_id, cpu) for s in placed.shares for cpu in s.cpus]
        left = [
            h.less(placed.shares) if h.host_id == placed.host_id else h for h in left
        ]

    assert len(set(taken)) == len(taken)
    assert isinstance(place(asked, left), NoFit)


@often
@given(fleets, requests)
def test_counts_follow_the_shares_that_were_given(
    fleet: list[HostSnapshot], asked: Request
) -> None:
    for found in fleet:
        placed = place(asked, [found])
        if isinstance(placed, Placement):
            room = room_of(found)
            fitted = fit(asked, room)
            assert fitted is not None
            assert after(asked, room, fitted) == room_of(found.less(placed.shares))


@often
@given(fleets)
def test_a_shape_says_all_that_a_room_holds(fleet: list[HostSnapshot]) -> None:
    for found in fleet:
        assert room_in(shape_of(found)) == room_of(found)
        assert shape_text(room_in(shape_of(found))) == shape_of(found)


def test_eight_cards_on_four_nodes_split_over_the_fewest() -> None:
    fleet = [host(1, *(node(n, 4, cores=8) for n in range(4)))]

    placed = place(request(8, vcpus=16, mib=4000), fleet)

    assert isinstance(placed, Placement)
    assert [(len(s.card_ids), s.vcpus, s.memory_mib) for s in placed.shares] == [
        (4, 8, 2000),
        (4, 8, 2000),
    ]


def test_spread_takes_the_nodes_that_the_plan_names() -> None:
    fleet = [host(1, node(0, 4), node(1, 4), node(2, 4), node(3, 1))]

    placed = place(
        request(4, vcpus=4, numa_policy=NumaPolicy.SPREAD, numa_nodes=4), fleet
    )

    assert isinstance(placed, Placement)
    assert [len(s.card_ids) for s in placed.shares] == [1, 1, 1, 1]
    refused = place(
        request(8, vcpus=8, numa_policy=NumaPolicy.SPREAD, numa_nodes=4), fleet
    )
    assert str(refused) == "1 host: 3 of 4 nodes with enough free cards"


def test_hugepages_are_counted_per_node_and_apart_from_memory() -> None:
    paged = replace(node(0, 2, mib=10), pages=((2048, 256),))

    placed = place(request(1, mib=512, hugepage_kib=2048), [host(1, paged, node(1, 2))])

    assert chosen(placed) == (1, {0: (0,)})
    assert isinstance(placed, Placement)
    left = paged.less(placed.shares[0])
    assert (left.pages, left.memory_mib, left.guests) == ((), 10, 1)
    refused = place(request(1, mib=514, hugepage_kib=2048), [host(1, paged)])
    assert str(refused) == "1 host: 512 of 514 MiB free in hugepages beside the cards"


def test_plan_without_cards_can_be_kept_off_gpu_hosts_for_good() -> None:
    fleet = [host(1, node(0, 2)), host(2, node(0, 0))]
    never = request(0, on_gpu_hosts=False)

    assert chosen(place(never, fleet)) == (2, {0: ()})
    assert str(place(never, fleet[:1])) == (
        "1 host: GPU host, kept for plans with cards"
    )


def test_a_gpu_host_without_a_free_card_is_no_plain_host() -> None:
    full = HostSnapshot(1, "gpu1", (node(0, 0),), has_cards=True)

    assert chosen(place(request(0), [full, host(2, node(0, 0))])) == (2, {0: ()})


def test_node_with_most_guests_is_filled_first() -> None:
    """It is empty last, so it is the other that a large request can hope for."""
    one, three = replace(node(0, 1), guests=1), replace(node(1, 1), guests=3)

    assert chosen(place(request(1), [host(1, one, three)])) == (1, {1: (100,)})


def test_reasons_that_differ_in_measure_only_are_one_group() -> None:
    fleet = [host(i, node(0, i), node(1, i - 1)) for i in (1, 2, 3)]

    refused = place(request(4, numa_policy=NumaPolicy.REQUIRED), fleet)

    assert str(refused) == (
        "2 hosts: 1 to 3 of 4 cards free; 1 host: no node with 4 free cards (most: 3)"
    )
    assert isinstance(refused, NoFit)
    assert [len(g.reasons) for g in refused.groups] == [1, 1, 1]
