"""What a host is told to need: by its rows, and tried on the virtual GPU host."""

import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from django.core.management import CommandError, call_command
from pytest_django import Settings

from inventory.choices import NetworkKind
from inventory.enrolment import EnrolmentOrder, enrol
from inventory.host_check import TrialOrder, check_host
from inventory.host_setup import setup_facts
from inventory.models import GuestSetup, HostCpu
from inventory.preflight import CheckLine, weakness_of
from inventory.setup_files import PKI, as_playbook, as_text, ranges, setup_of
from tests.builders import make_card, make_gpu_model, make_host, make_region
from tests.gpuhost.faults import reserve_hugepages
from tests.gpuhost.host import VirtualGpuHost
from tests.gpuhost.machine import NETWORK
from tests.gpuhost.ports import free_port


def told(*arguments: str) -> str:
    out = io.StringIO()
    call_command("host_setup", *arguments, stdout=out)
    return out.getvalue()


def test_enrolled_host_is_set_up_by_its_rows(db: None) -> None:
    host = make_host("gpu1", cards_per_node=(1, 1), cores_per_node=2, threads=2)
    make_card(
        host.nodes.get(number=0), "0000:29:00", functions=("10de:2204", "10de:1aef")
    )
    HostCpu.objects.filter(core__in=(0, 4)).update(is_reserved=True)
    host.nodes.filter(number=1).update(hugepages={"1048576": 120, "2048": 0})
    GuestSetup.objects.create(
        host=host, network_kind=NetworkKind.BRIDGE, network_name="br0", disk_pool="nvme",
        disk_folder="/srv/nvme",
    )  # fmt: skip

    setup = setup_of(setup_facts("gpu1", clients=("CN=web1",)))

    assert setup.kernel_words == (
        "intel_iommu=on",
        "amd_iommu=on",
        "iommu=pt",
        "vfio-pci.ids=10de:1aef,10de:1e30,10de:2204",
        "hugepagesz=1G",
        "hugepages=1:120",
        "irqaffinity=0-1,4-5",
    )
    modprobe = setup.files["/etc/modprobe.d/gpucloud-vfio.conf"].splitlines()
    assert modprobe[0] == "options vfio-pci ids=10de:1aef,10de:1e30,10de:2204"
    assert "softdep nouveau pre: vfio-pci" in modprobe
    assert setup.files["/etc/systemd/system/system.slice.d/gpucloud.conf"] == (
        "[Slice]\nAllowedCPUs=0-1,4-5\n"
    )
    assert (
        'tls_allowed_dn_list = ["CN=web1"]' in setup.files["/etc/libvirt/libvirtd.conf"]
    )
    assert "listen_tcp = 0" in setup.files["/etc/libvirt/libvirtd.conf"]
    assert "install -d -m 0711 /srv/nvme" in setup.commands
    assert "A bridge br0 with the outer network's port in it." in setup.by_hand
    assert "br_netfilter" in setup.files["/etc/modules-load.d/gpucloud.conf"]


def test_new_host_is_set_up_for_all_known_models(db: None) -> None:
    make_gpu_model()
    make_gpu_model("l40s", "10de:26b9")

    text = told("gpu9", "--hugepages-gib", "64")

    assert "vfio-pci.ids=10de:1e30,10de:26b9" in text
    assert "hugepagesz=1G hugepages=0:64" in text
    assert "No CPU is kept for the host yet" in text
    assert "Name the control plane's certificates with --client" in text


def test_ssh_key_may_run_the_helper_and_no_more(db: None) -> None:
    setup = setup_of(setup_facts("gpu9", ssh_key="ssh-ed25519 AAAA web1"))

    assert setup.files["/etc/ssh/authorized_keys.d/gpucloud"] == (
        'restrict,command="virt-ssh-helper qemu:///system" ssh-ed25519 AAAA web1\n'
    )
    assert "/etc/libvirt/libvirtd.conf" not in setup.files


def test_playbook_does_what_the_text_says(db: None) -> None:
    make_host("gpu1")
    setup = setup_of(setup_facts("gpu1"))

    (play,) = yaml.safe_load(told("gpu1", "--ansible"))

    assert as_playbook(setup) == told("gpu1", "--ansible")
    assert as_text(setup) == told("gpu1")
    copies = {
        task["ansible.builtin.copy"]["dest"]: task["ansible.builtin.copy"]["content"]
        for task in play["tasks"]
        if "ansible.builtin.copy" in task
    }
    shells = [
        t["ansible.builtin.shell"]
        for t in play["tasks"]
        if "ansible.builtin.shell" in t
    ]
    assert (play["hosts"], copies, shells) == (
        "gpu1",
        setup.files,
        list(setup.commands),
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--ssh-key", "ssh-ed25519 A\nssh-rsa B"), "one public key, on one line"),
        (("--ssh-key", "ssh-ed25519 A", "--client", "CN=x"), "--client is of TLS"),
        (("--hugepages-gib", "-1"), "0 or more"),
    ],
)
def test_wrong_option_names_itself(
    db: None, arguments: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(CommandError, match=reason):
        told("gpu1", *arguments)


@pytest.mark.parametrize(
    ("uri", "is_weak"),
    [
        ("qemu+tls://gpu1.example.net/system", False),
        ("qemu+tls://gpu1/system?pkipath=/etc/pki/gpucloud", False),
        ("qemu+ssh://gpu1/system?known_hosts_verify=normal", False),
        ("qemu+tls://gpu1/system?no_verify=0", False),
        ("qemu+tls://gpu1/system?no_verify=1", True),
        ("qemu+tls://gpu1/system?pkipath=/x&No_Verify=1", True),
        ("qemu+tls://gpu1/system?no%5Fverify=1", True),
        ("qemu+libssh2://gpu1/system?known_hosts_verify=ignore", True),
        ("qemu+libssh://gpu1/system?known_hosts_verify=auto", True),
        ("qemu+tcp://gpu1/system", True),
    ],
)
def test_address_where_anybody_may_answer_is_weak(uri: str, is_weak: bool) -> None:
    assert bool(weakness_of(uri)) == is_weak


def test_lists_of_cpus_are_written_as_linux_does() -> None:
    assert ranges([17, 0, 2, 1, 16, 5]) == "0-2,5,16-17"
    assert ranges([]) == ""


# The virtual GPU host, booted with what is printed.

_MAKE_CERTIFICATES = """
set -eu
ca() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -keyout $1.key \
        -out $1.pem -addext basicConstraints=critical,CA:TRUE \
        -addext keyUsage=keyCertSign 2>/dev/null
}
signed() { # name, CA, extension
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout $1.key -out $1.csr 2>/dev/null
    printf 'keyUsage=digitalSignature,keyEncipherment\\n%s\\n' "$3" > $1.ext
    openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -CAcreateserial -days 2 \
        -extfile $1.ext -out $1.pem 2>/dev/null
}
ca ours; ca theirs
signed host ours 'subjectAltName=DNS:localhost,IP:127.0.0.1'
signed stranger theirs 'subjectAltName=DNS:localhost,IP:127.0.0.1'
signed web1 ours extendedKeyUsage=clientAuth
signed guest ours extendedKeyUsage=clientAuth
signed false theirs extendedKeyUsage=clientAuth
"""


class Pki:
    """Certificates in a folder, and folders as libvirt's pkipath wants them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        script = ["sh", "-c", _MAKE_CERTIFICATES]
        subprocess.run(script, cwd=folder, check=True)  # noqa: S603

    def of_the_host(self) -> dict[str, str]:
        """Return what lies where on the host."""
        names = ("ours.pem", "host.pem", "host.key")
        return {
            path: (self.folder / name).read_text()
            for path, name in zip(PKI, names, strict=True)
        }

    def client(self, name: str, ca: str = "ours") -> Path:
        path = self.folder / f"of-{name}-{ca}"
        path.mkdir(exist_ok=True)
        shutil.copy(self.folder / f"{ca}.pem", path / "cacert.pem")
        if name:
            shutil.copy(self.folder / f"{name}.pem", path / "clientcert.pem")
            shutil.copy(self.folder / f"{name}.key", path / "clientkey.pem")
        return path


# A certificate, the CA that its owner believes in, and whether it may control the host.
CALLERS = [
    ("web1", "ours", True),
    # Signed by us, and nobody's that may control hosts.
    ("guest", "ours", False),
    # Of another CA, and none at all.
    ("false", "ours", False),
    ("", "ours", False),
    # The client does not take this host for one of another CA's.
    ("web1", "theirs", False),
]
VIRSH = "/usr/bin/virsh"
PAGES = 64
SLOTS = ("0000:21:00", "0000:22:00", "0000:61:00", "0000:62:00")
# Stands for nouveau: a driver of the host that takes the cards when it is loaded.
HOST_DRIVER = (
    "/sbin/modprobe pci-pf-stub && "
    "echo 10de 1e30 > /sys/bus/pci/drivers/pci-pf-stub/new_id"
)


def drivers_on(host: VirtualGpuHost) -> list[str]:
    """Return the driver of each card, as the host's Linux tells."""
    links = " ".join(f"/sys/bus/pci/devices/{slot}.0/driver" for slot in SLOTS)
    told = host.shell(f"for link in {links}; do readlink $link || echo -; done")
    return [line.rpartition("/")[2] for line in told.splitlines()]


def about(lines: list[CheckLine], *names: str) -> list[tuple[str, str]]:
    """Return verdict and text, less the card's ids and group, of the lines so named."""
    found = [line for line in lines if line.name in names]
    return [(line.verdict, line.text.rpartition("group ")[2]) for line in found]


@pytest.fixture
def enrolled(
    clean_virtual_host: VirtualGpuHost, db: None, settings: Settings
) -> Iterator[VirtualGpuHost]:
    """Give a host whose rows say: a card's ids, pages on each node, a core kept on each."""
    settings.LAB = True
    make_region()
    make_gpu_model()
    for node in range(2):
        assert reserve_hugepages(clean_virtual_host, node, PAGES) == PAGES
    order = EnrolmentOrder(
        clean_virtual_host.running().libvirt_uri,
        "us-east",
        "gpu1",
        reserved_cores=1,
        reserved_memory_mib=256,
    )
    enrol(order, "user:ann")
    yield clean_virtual_host
    # What is on its disk and on its kernel's command line is nobody else's.
    clean_virtual_host.restore()


@pytest.mark.gpuhost
def test_host_booted_as_printed_keeps_its_cards_and_lets_only_us_in(
    enrolled: VirtualGpuHost, tmp_path: Path
) -> None:
    uri = enrolled.running().libvirt_uri
    cards = [f"card {slot}" for slot in SLOTS]

    # As it was, any driver of the host has the cards, and the check names the remedy.
    enrolled.shell(HOST_DRIVER)
    assert drivers_on(enrolled) == ["pci-pf-stub"] * 4
    before = check_host(uri)
    taken = about(before, *cards)
    assert [verdict for verdict, _ in taken] == ["warn"] * 4
    assert all("driver pci-pf-stub has it on the host" in text for _, text in taken)
    (remedy,) = {line.remedy for line in before if line.name in cards}
    assert remedy.startswith("Boot the host with vfio-pci.ids=10de:1e30")

    pki = Pki(tmp_path)
    boot_as_printed(enrolled, pki)

    assert drivers_on(enrolled) == ["vfio-pci"] * 4
    assert kernel_of(enrolled) == KERNEL
    enrolled.shell(HOST_DRIVER)
    assert drivers_on(enrolled) == ["vfio-pci"] * 4
    after = check_host(uri, trial=TrialOrder())
    assert [verdict for verdict, _ in about(after, *cards)] == ["pass"] * 4
    assert all(text.endswith(": vfio-pci") for _, text in about(after, *cards))
    assert about(after, "hugepages") == [
        ("pass", f"node {node}: {PAGES} of {PAGES} pages of 2048 KiB are free")
        for node in range(2)
    ]
    assert not [line for line in after if line.verdict == "fail"]
    assert about(after, "memlock") == [
        ("pass", f"a guest with {SLOTS[0]} was seen running")
    ]
    # libvirt gives a card back to the driver that it had before the guest.
    assert drivers_on(enrolled) == ["vfio-pci"] * 4
    assert_we_alone_are_let_in(enrolled, pki)


def assert_we_alone_are_let_in(host: VirtualGpuHost, pki: Pki) -> None:
    port = free_port()
    forward = f"hostfwd_add {NETWORK} tcp:127.0.0.1:{port}-:16514"
    host.qmp("human-monitor-command", **{"command-line": forward})
    for client, ca, is_let_in in CALLERS:
        path = f"127.0.0.1:{port}/system?pkipath={pki.client(client, ca)}"
        asked = subprocess.run(  # noqa: S603
            [VIRSH, "-c", f"qemu+tls://{path}", "hostname"],
            capture_output=True,
            text=True,
        )
        assert (asked.returncode == 0) == is_let_in, (client, ca, asked)
        assert (host.name in asked.stdout) == is_let_in


# What the host's Linux says of the words and files: name -> command, answer.
_LOOKS = {
    "hugepages": (
        "cat /sys/devices/system/node/node*/hugepages/hugepages-2048kB/nr_hugepages",
        f"{PAGES}\n{PAGES}",
    ),
    # CPUs 0 and 2: a core of each node.
    "interrupts": ("cat /proc/irq/default_smp_affinity", "5"),
    "unsafe interrupts": (
        "cat /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
        "N",
    ),
    "softdep": (
        "/sbin/modprobe -c | grep '^softdep nouveau '",
        "softdep nouveau pre: vfio-pci",
    ),
    "options": (
        "/sbin/modprobe -c | grep '^options vfio_pci ' | sort -u",
        "options vfio_pci ids=10de:1e30",
    ),
}
KERNEL = {name: answer for name, (_, answer) in _LOOKS.items()}


def kernel_of(host: VirtualGpuHost) -> dict[str, str]:
    return {name: host.shell(command) for name, (command, _) in _LOOKS.items()}


def boot_as_printed(host: VirtualGpuHost, pki: Pki) -> None:
    """Boot with the playbook's files on the disk and GRUB's words for the kernel.

    The certificates are where a person puts them. Plain TCP, by which this host is looked
    after, stays on beside TLS.
    """
    (play,) = yaml.safe_load(told("gpu1", "--ansible", "--client", "CN=web1"))
    copies = [task.get("ansible.builtin.copy") for task in play["tasks"]]
    files = {copy["dest"]: copy["content"] for copy in copies if copy}
    grub = files["/etc/default/grub.d/gpucloud.cfg"]
    script = ["sh", "-c", f'{grub}echo "$GRUB_CMDLINE_LINUX"']
    words = subprocess.run(script, capture_output=True, text=True, check=True)  # noqa: S603
    conf = files["/etc/libvirt/libvirtd.conf"]
    assert "listen_tcp = 0\n" in conf
    tcp = 'listen_tcp = 1\nauth_tcp = "none"\n'
    files["/etc/libvirt/libvirtd.conf"] = conf.replace("listen_tcp = 0\n", tcp)
    host.boot(words.stdout.split(), files | pki.of_the_host())
