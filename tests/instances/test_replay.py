"""manage.py replay_placement: the product's own placing of a recorded sequence."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given, settings
from hypothesis import strategies as st

from instances.fleet_index import FleetIndex
from instances.placement import Placement, place
from instances.replay import Fleet, replay


def document(events: list[dict[str, Any]], *board: int) -> dict[str, Any]:
    hosts, numa, cards = board or (1, 2, 2)
    return {
        "fleet": {"hosts": hosts, "numa_per_host": numa, "cards_per_numa": cards},
        "mix": {"1": 0.5, "4": 0.5},
        "events": events,
    }


def create(number: int, gpus: int) -> dict[str, Any]:
    return {"t": float(number), "op": "create", "id": number, "gpus": gpus}


def delete(number: int) -> dict[str, Any]:
    return {"t": 99.0, "op": "delete", "id": number}


def test_command_prints_one_line_per_create_in_order(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    events = [create(7, 3), create(8, 2), delete(8), delete(7), create(9, 4)]
    path.write_text(json.dumps(document(events)))
    out = StringIO()

    call_command("replay_placement", str(path), stdout=out)

    assert out.getvalue().splitlines() == [
        '{"id": 7, "host": 0, "cards": [[0, 0], [0, 1], [1, 0]]}',
        '{"id": 8, "host": null, "cards": []}',
        '{"id": 9, "host": 0, "cards": [[0, 0], [0, 1], [1, 0], [1, 1]]}',
    ]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"events": []}, "fleet: None is no dict"),
        (document([], 0, 1, 1), "fleet.hosts: 0 is below 1"),
        (document([{"op": "create", "gpus": 1}]), r"events\[0\].id: None is no int"),
        (document([{"op": "stop", "id": 1}]), r"events\[0\].op: 'stop' is neither"),
        (document([delete(1)]), r"events\[0\].id: 1 was never created"),
        (
            document([create(1, 1), create(1, 1)]),
            r"events\[1\].id: 1 was created before",
        ),
        (document([create(1, True)]), r"events\[0\].gpus: True is no int"),
    ],
)
def test_wrong_input_names_its_field(
    broken: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "events.json"
    path.write_text(json.dumps(broken))

    with pytest.raises(CommandError, match=reason):
        call_command("replay_placement", str(path), stdout=StringIO())


def test_size_that_no_host_has_is_refused() -> None:
    assert list(replay(document([create(1, 5), delete(1)]))) == [
        {"id": 1, "host": None, "cards": []}
    ]


@settings(max_examples=max(60, settings.default.max_examples))
@given(
    board=st.sampled_from(((3, 2, 4), (4, 2, 2), (2, 4, 1), (2, 1, 8))),
    steps=st.lists(
        st.tuples(st.integers(1, 8), st.integers(0, 9), st.booleans()), max_size=40
    ),
)
def test_index_chooses_what_place_chooses_among_all_hosts(
    board: tuple[int, int, int], steps: list[tuple[int, int, bool]]
) -> None:
    fleet = Fleet(*board)
    requests = {
        size: fleet.request(size) for size in range(1, fleet.cards_per_host + 1)
    }
    hosts = fleet.snapshots()
    index = FleetIndex(hosts, list(requests.values()))
    held: dict[int, Placement] = {}
    for number, (size, which, is_create) in enumerate(steps):
        if not is_create and held:
            gone = sorted(held)[which % len(held)]
            index.release(held.pop(gone).host_id, gone)
        elif size in requests:
            by_host = {
                host.host_id: [
                    p.shares for p in held.values() if p.host_id == host.host_id
                ]
                for host in hosts
            }
            left = []
            for host in hosts:
                for shares in by_host[host.host_id]:
                    host = host.less(shares)
                left.append(host)
            wanted = place(requests[size], left)

            placed = index.place(requests[size], number)

            assert (placed is None) == (not isinstance(wanted, Placement))
            if placed is not None:
                assert placed == wanted
                held[number] = placed
