"""What a GPU host needs before it can be enrolled: kernel words, files, commands; pure.

inventory.preflight judges a host that answers by the same needs.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# Whatever would take a function of a card before vfio-pci does.
_OTHER_DRIVERS = (
    *("nouveau", "nvidia", "nvidia_drm", "nvidiafb", "amdgpu", "radeon"),
    *("snd_hda_intel", "xhci_pci", "i2c_nvidia_gpu"),
)
# libvirt's Debian units of one daemon for all; of the modular ones, virtproxyd's.
TLS_SOCKET = "libvirtd-tls.socket"
# Where libvirt looks for them, and what they are.
PKI = {
    "/etc/pki/CA/cacert.pem": "the CA's certificate",
    "/etc/pki/libvirt/servercert.pem": "the host's certificate, made out to its name",
    "/etc/pki/libvirt/private/serverkey.pem": "its key, mode 0600",
}


@dataclass(frozen=True, slots=True)
class SetupFacts:
    """What is known of a host. pci_ids: of all functions of its cards, sorted.

    hugepages: page size in KiB -> NUMA node -> pages. reserved_cpus: logical CPUs kept for
    the host; empty if not known. pools: storage pool -> folder. clients: distinguished
    names of the certificates that may connect; ssh_key: the public key that may.
    """

    name: str
    pci_ids: tuple[str, ...] = ()
    hugepages: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    reserved_cpus: tuple[int, ...] = ()
    pools: Mapping[str, str] = field(default_factory=dict)
    network: str = ""
    bridge: str = ""
    clients: tuple[str, ...] = ()
    ssh_key: str = ""


@dataclass(frozen=True, slots=True)
class Setup:
    """files: path -> content. by_hand: what a person does."""

    name: str
    kernel_words: tuple[str, ...]
    packages: tuple[str, ...]
    files: Mapping[str, str]
    commands: tuple[str, ...]
    by_hand: tuple[str, ...]


def setup_of(facts: SetupFacts) -> Setup:
    return Setup(
        name=facts.name,
        kernel_words=tuple(_kernel_words(facts)),
        packages=("libvirt-daemon-system", "qemu-system-x86", "qemu-utils", "chrony"),
        files=dict(_files(facts)),
        commands=tuple(_commands(facts)),
        by_hand=tuple(_by_hand(facts)),
    )


def _kernel_words(facts: SetupFacts) -> Iterable[str]:
    # Each is without effect on the other maker's CPUs.
    yield from ("intel_iommu=on", "amd_iommu=on", "iommu=pt")
    if facts.pci_ids:
        yield f"vfio-pci.ids={','.join(facts.pci_ids)}"
    for size_kib, by_node in sorted(facts.hugepages.items()):
        counts = ",".join(f"{node}:{n}" for node, n in sorted(by_node.items()) if n)
        if counts:
            yield f"hugepagesz={_size(size_kib)}"
            yield f"hugepages={counts}"
    if facts.reserved_cpus:
        yield f"irqaffinity={ranges(facts.reserved_cpus)}"


def _size(kib: int) -> str:
    return f"{kib >> 20}G" if kib >= 1 << 20 else f"{kib >> 10}M"


def ranges(numbers: Iterable[int]) -> str:
    """Return such as "0-2,16", as Linux writes lists of CPUs."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _files(facts: SetupFacts) -> Iterable[tuple[str, str]]:
    yield (
        "/etc/default/grub.d/gpucloud.cfg",
        (
            'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX '
            f'{" ".join(_kernel_words(facts))}"\n'
        ),
    )
    if facts.pci_ids:
        yield (
            "/etc/modprobe.d/gpucloud-vfio.conf",
            "".join(
                (
                    f"options vfio-pci ids={','.join(facts.pci_ids)}\n",
                    "options vfio_iommu_type1 allow_unsafe_interrupts=N\n",
                    *(f"softdep {driver} pre: vfio-pci\n" for driver in _OTHER_DRIVERS),
                )
            ),
        )
        yield "/usr/share/initramfs-tools/modules.d/gpucloud", "vfio-pci\n"
    yield "/etc/modules-load.d/gpucloud.conf", "vfio-pci\nbr_netfilter\n"
    yield (
        "/etc/sysctl.d/90-gpucloud.conf",
        (
            # Without them bridged packets pass every customer's firewall unseen.
            "net.bridge.bridge-nf-call-iptables = 1\n"
            "net.bridge.bridge-nf-call-ip6tables = 1\n"
        ),
    )
    if facts.reserved_cpus:
        # Not isolcpus: the kernel would no longer balance what a guest's emulator runs on
        # several CPUs. Guests are in machine.slice, which is left alone.
        kept = f"AllowedCPUs={ranges(facts.reserved_cpus)}\n"
        yield "/etc/systemd/system/system.slice.d/gpucloud.conf", f"[Slice]\n{kept}"
        yield "/etc/systemd/system/user.slice.d/gpucloud.conf", f"[Slice]\n{kept}"
        yield "/etc/systemd/system/init.scope.d/gpucloud.conf", f"[Scope]\n{kept}"
    if facts.ssh_key:
        yield (
            "/etc/ssh/authorized_keys.d/gpucloud",
            (f'restrict,command="virt-ssh-helper qemu:///system" {facts.ssh_key}\n'),
        )
        yield (
            "/etc/ssh/sshd_config.d/gpucloud.conf",
            (
                "Match User gpucloud\n"
                "  AuthorizedKeysFile /etc/ssh/authorized_keys.d/gpucloud\n"
                "  PasswordAuthentication no\n"
            ),
        )
    else:
        yield "/etc/libvirt/libvirtd.conf", libvirtd_conf(facts.clients)


def libvirtd_conf(clients: Iterable[str]) -> str:
    """Return libvirtd.conf: who has no certificate of ours is told nothing."""
    allowed = "".join(f", {json.dumps(name)}" for name in clients)[2:]
    return (
        "listen_tls = 1\n"
        "listen_tcp = 0\n"
        # The certificate is the authentication; it is asked for and verified.
        'auth_tls = "none"\n'
        "tls_no_verify_certificate = 0\n"
        f"tls_allowed_dn_list = [{allowed}]\n"
        'unix_sock_group = "libvirt"\n'
        'unix_sock_rw_perms = "0770"\n'
    )


def _commands(facts: SetupFacts) -> Iterable[str]:
    yield "update-grub"
    yield "update-initramfs -u"
    yield "systemctl daemon-reload"
    yield "sysctl --system"
    if facts.ssh_key:
        yield "id gpucloud || useradd --system --create-home --shell /bin/sh gpucloud"
        yield "usermod --append --groups libvirt gpucloud"
        yield "systemctl reload ssh"
    else:
        yield "systemctl stop libvirtd.service"
        yield f"systemctl enable --now {TLS_SOCKET}"
        yield "systemctl disable --now libvirtd-tcp.socket"
    for pool, folder in sorted(facts.pools.items()):
        yield f"install -d -m 0711 {folder}"
        yield (
            f"virsh pool-info {pool} || "
            f"virsh pool-define-as {pool} dir --target {folder}"
        )
        yield f"virsh pool-start {pool} || virsh pool-info {pool} | grep -q running"
        yield f"virsh pool-autostart {pool}"
    if facts.network:
        yield f"virsh net-start {facts.network} || virsh net-info {facts.network}"
        yield f"virsh net-autostart {facts.network}"
    yield "iptables -P FORWARD ACCEPT"


def _by_hand(facts: SetupFacts) -> Iterable[str]:
    yield "Firmware: VT-d or AMD-Vi on, ACS on, SR-IOV as it is, NUMA on (NPS1, SNC off)."
    if not facts.pci_ids:
        yield "No card of a known GPU model: add one under GPU models, then print this anew."
    if not facts.reserved_cpus:
        yield "No CPU is kept for the host yet: enrol it, then print this anew."
    if not facts.ssh_key:
        for path, what in PKI.items():
            yield f"{path}: {what} (docs/gpu-host.md tells how to make them)."
        if not facts.clients:
            yield "Name the control plane's certificates with --client: nobody may connect."
    if facts.bridge:
        yield f"A bridge {facts.bridge} with the outer network's port in it."
    if not (facts.bridge or facts.network):
        yield "Guests have no network yet: manage.py set_up_guests, then print this anew."
    yield "Boot anew, then: manage.py check_host URI --start-guest."


def as_text(setup: Setup) -> str:
    """Return it as people read it: what to write, what to run, what to do by hand."""
    lines = [f"# {setup.name}: what this host needs", ""]
    lines += [f"apt install {' '.join(setup.packages)}", ""]
    for path, content in setup.files.items():
        lines += [f"# {path}", *(f"    {line}" for line in content.splitlines()), ""]
    lines += ["# Run", *(f"    {command}" for command in setup.commands), ""]
    lines += ["# By hand", *(f"    - {each}" for each in setup.by_hand)]
    return "\n".join(lines) + "\n"


def as_playbook(setup: Setup) -> str:
    """Return an Ansible playbook, which is JSON and so YAML; it boots nothing anew."""
    tasks: list[dict[str, object]] = [
        {
            "name": "Packages",
            "ansible.builtin.apt": {"name": list(setup.packages), "update_cache": True},
        }
    ]
    for path, content in setup.files.items():
        tasks += [
            {
                "name": f"Folder of {path}",
                "ansible.builtin.file": {
                    "path": path.rpartition("/")[0],
                    "state": "directory",
                },
            },
            {
                "name": path,
                "ansible.builtin.copy": {
                    "dest": path,
                    "content": content,
                    "mode": "0644",
                },
            },
        ]
    tasks += [
        {"name": command, "ansible.builtin.shell": command}
        for command in setup.commands
    ]
    tasks.append(
        {"name": "By hand", "ansible.builtin.debug": {"msg": list(setup.by_hand)}}
    )
    play = {"name": setup.name, "hosts": setup.name, "become": True, "tasks": tasks}
    return json.dumps([play], indent=2) + "\n"
