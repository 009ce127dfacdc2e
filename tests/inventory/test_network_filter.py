"""The filters that hold a guest to its own addresses, as the virtual host enforces them."""

import contextlib
import uuid

import pytest

from instances.domain_devices import Nic, ipv6_filters
from instances.domain_xml import DomainSpec, GuestCell, build_domain
from inventory.addresses import link_local_of, mac_of
from inventory.exceptions import HypervisorError
from inventory.hypervisor.supervised import SupervisedHypervisor
from tests.gpuhost.host import VirtualGpuHost

pytestmark = pytest.mark.gpuhost
ADDRESS = "10.77.0.200"
POOL, FOLDER = "gpucloud-console", "/var/log/libvirt/gpucloud"


def test_guest_with_ipv6_may_send_from_its_own_addresses_only(
    virtual_host: VirtualGpuHost,
) -> None:
    mac = mac_of(ADDRESS)
    allowed = ("::", link_local_of(mac), "2001:db8::1234")
    spec = DomainSpec(
        uuid=str(uuid.uuid4()),
        name=f"filtered-{uuid.uuid4().hex[:8]}",
        title="a filtered guest",
        domain_type="qemu",
        cells=(GuestCell(0, (0,), (0,), 64, ()),),
        kernel_path="/var/lib/libvirt/images/probe.elf",
        nic=Nic("network", "gpucloud", mac, ADDRESS, allowed),
    )
    hypervisor = SupervisedHypervisor(virtual_host.running().libvirt_uri)
    hypervisor.ensure_folder_pool(POOL, FOLDER)
    try:
        for document in (*ipv6_filters(), *ipv6_filters()):
            hypervisor.define_filter(document)
        hypervisor.define_domain(build_domain(spec))
        hypervisor.start_domain(spec.uuid)

        rules = virtual_host.shell("ebtables -t nat -L --Lmac2")
        assert f"{mac} -j RETURN" in rules
        assert f"--ip-src {ADDRESS} -j RETURN" in rules
        for address in allowed[1:]:
            assert f"--ip6-src {address}" in rules
        assert "--ip6-icmp-type router-advertisement -j DROP" in rules
        assert "--ip6-icmp-type redirect -j DROP" in rules
    finally:
        with contextlib.suppress(HypervisorError):
            hypervisor.destroy_domain(spec.uuid)
        with contextlib.suppress(HypervisorError):
            hypervisor.undefine_domain(spec.uuid)
        hypervisor.close()

    assert ADDRESS not in virtual_host.shell("ebtables -t nat -L")
