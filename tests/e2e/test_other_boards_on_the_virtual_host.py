"""Every size on boards of other topologies: what is claimed is what the guest gets."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from inventory.hypervisor.supervised import SupervisedHypervisor
from inventory.hypervisor.xml import parse_domain
from tests.e2e.conftest import CARD, Stack
from tests.e2e.observing import decide
from tests.e2e.test_launch_on_the_virtual_host import (
    Customer,
    assert_live_equals,
    claims_of,
)
from tests.gpuhost.host import VirtualGpuHost

pytestmark = [pytest.mark.e2e, pytest.mark.gpuhost]


@pytest.fixture(params=["1x4", "4x1"])
def board(request: pytest.FixtureRequest, stack: Stack) -> Iterator[VirtualGpuHost]:
    """Give a host of another board, the only one that takes instances.

    Its cards are not checked, which is others' subject; it is retired in the end.
    """
    name = f"e2e-{request.param}"
    run_dir = stack.django.layout.run / name
    host = VirtualGpuHost(name, request.param, CARD, run_dir=run_dir)
    decide(stack, stack.hosts[0].name, "no_provision")
    try:
        with stack.sanitising_off():
            stack.enrol(name, host.restore().libvirt_uri)
            stack.wait_for_cards()
            yield host
            stack.wait_for_cards()
            decide(stack, name, "retired")
    finally:
        host.stop()
        decide(stack, stack.hosts[0].name, "in_service")


def test_every_size_gets_what_it_claims(stack: Stack, board: VirtualGpuHost) -> None:
    employee = Customer(stack, "employee")
    nodes_of_board = board.board.nodes
    with closing(SupervisedHypervisor(board.running().libvirt_uri)) as hypervisor:
        # Each group fills the board or leaves what the next does not miss.
        for sizes in ((1, 3), (2,), (4,)):
            made = {size: employee.create(size)["id"] for size in sizes}
            for size, instance_id in made.items():
                employee.wait_for(instance_id, "running")
                console = employee.console(instance_id)
                assert console.count("GPU-SEEN 10de:1e30 class 030000") == size
                claimed = claims_of(stack, instance_id)
                assert len(claimed["cards"]) == size
                assert len(claimed["nodes"]) == min(size, nodes_of_board)
                live = parse_domain(hypervisor.domain_xml(claimed["uuid"]))
                assert_live_equals(claimed, live)
            for instance_id in made.values():
                employee.call("DELETE", f"/v4/linode/instances/{instance_id}")
                employee.wait_gone(instance_id)
            stack.wait_for_cards()
