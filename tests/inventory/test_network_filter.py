"""The filters that hold a guest to its addresses and firewall, as the virtual host has them."""

import contextlib
import re
import uuid
from typing import Any

import pytest

from instances.domain_devices import Nic
from instances.domain_xml import DomainSpec, GuestCell, build_domain
from instances.firewall_rules import checked, rules_of
from instances.network_filter import filter_name, filters_of
from inventory.addresses import link_local_of, mac_of
from inventory.exceptions import HypervisorError
from inventory.hypervisor.supervised import SupervisedHypervisor
from tests.gpuhost.host import VirtualGpuHost

pytestmark = pytest.mark.gpuhost
ADDRESS, OUTSIDE = "10.77.0.200", "10.77.0.201"
POOL, FOLDER = "gpucloud-console", "/var/log/libvirt/gpucloud"
ALLOWED = ("::", link_local_of(mac_of(ADDRESS)), "2001:db8::1234")
NIC = Nic("network", "gpucloud", mac_of(ADDRESS), ADDRESS, ALLOWED)
# Another machine on the guests' bridge: what the host itself sends is not filtered.
OTHER_MACHINE = f"""
/bin/ip netns add outside &&
/bin/ip link add out0 type veth peer name out1 netns outside &&
/bin/ip link set out0 master gpucloud0 up &&
/bin/ip -n outside address add {OUTSIDE}/24 dev out1 &&
/bin/ip -n outside link set out1 up &&
/bin/ip -n outside neighbour add {ADDRESS} lladdr {NIC.mac} dev out1 && echo made
"""


def lets_in(port: int) -> Any:
    rule = {
        "protocol": "TCP",
        "ports": str(port),
        "addresses": {"ipv4": [f"{OUTSIDE}/24"], "ipv6": ["::/0"]},
        "action": "ACCEPT",
    }
    body = {"inbound": [rule], "inbound_policy": "DROP", "outbound_policy": "ACCEPT"}
    return rules_of(checked(body))


def test_guest_is_held_to_its_addresses_and_to_its_firewall_as_it_changes(
    virtual_host: VirtualGpuHost,
) -> None:
    """One guest for all of it: under emulation libvirt takes 10 s and more for its rules."""
    spec = DomainSpec(
        uuid=str(uuid.uuid4()),
        name=f"filtered-{uuid.uuid4().hex[:8]}",
        title="a filtered guest",
        domain_type="qemu",
        cells=(GuestCell(0, (0,), (0,), 64, ()),),
        kernel_path="/var/lib/libvirt/images/probe.elf",
        nic=NIC,
    )
    hypervisor = SupervisedHypervisor(virtual_host.running().libvirt_uri)
    hypervisor.ensure_folder_pool(POOL, FOLDER)
    try:
        for document in filters_of(spec.uuid, NIC, lets_in(22)) * 2:
            hypervisor.define_filter(document)
        hypervisor.define_domain(build_domain(spec))
        hypervisor.start_domain(spec.uuid)

        rules = virtual_host.shell("ebtables -t nat -L --Lmac2")
        assert f"{NIC.mac} -j RETURN" in rules
        assert f"--ip-src {ADDRESS} -j RETURN" in rules
        for address in ALLOWED[1:]:
            assert f"--ip6-src {address}" in rules
        assert "--ip6-icmp-type router-advertisement -j DROP" in rules
        assert "--ip6-icmp-type redirect -j DROP" in rules
        assert "--dport 22 " in virtual_host.shell("ip6tables-save -t filter")

        assert "made" in virtual_host.shell(OTHER_MACHINE)
        assert reached(virtual_host, 22) == (True, False)
        assert reached(virtual_host, 80) == (False, True)
        for document in filters_of(spec.uuid, NIC, lets_in(80)):
            hypervisor.define_filter(document)
        assert reached(virtual_host, 80) == (True, False)
    finally:
        virtual_host.shell("/bin/ip link delete out0; /bin/ip netns delete outside")
        for undo, name in (
            (hypervisor.destroy_domain, spec.uuid),
            (hypervisor.undefine_domain, spec.uuid),
            (hypervisor.undefine_filter, filter_name(spec.uuid)),
        ):
            with contextlib.suppress(HypervisorError):
                undo(name)
        hypervisor.close()

    assert ADDRESS not in virtual_host.shell("ebtables -t nat -L")
    assert "--dport" not in virtual_host.shell("iptables-save; ip6tables-save")


def reached(virtual_host: VirtualGpuHost, port: int) -> tuple[bool, bool]:
    """Ask the guest for a connection; return whether it was let in, and whether dropped."""
    before = counts(virtual_host, port)
    virtual_host.shell(
        f"/bin/ip netns exec outside /bin/busybox nc -w 1 {ADDRESS} {port} </dev/null; true"
    )
    let_in, dropped = (
        after > earlier
        for after, earlier in zip(counts(virtual_host, port), before, strict=True)
    )
    return let_in, dropped


def counts(virtual_host: VirtualGpuHost, port: int) -> tuple[int, int]:
    """Return the packets that a rule for this port let in, and those dropped by policy."""
    saved = virtual_host.shell("iptables-save -c -t filter")
    # What goes to a guest passes its chain FO-...
    rules = re.findall(r"\[(\d+):\d+\] -A FO-\S+ (.*)", saved)
    return (
        sum(int(n) for n, rule in rules if f"--dport {port} " in rule),
        sum(int(n) for n, rule in rules if rule.endswith("-j DROP")),
    )
