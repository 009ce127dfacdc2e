"""Build the image of the virtual GPU host, once per content of its sources.

An image is a folder with a kernel, an initramfs, a raw ext4 root disk and the cards.so
that QEMU is started with. No loop device and no mount is used, so it can be built by
any user (in a user namespace, so that the files in it belong to root).
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.gpuhost.errors import BuildFailed
from tests.gpuhost.packages import (
    HOST_PACKAGES,
    PackageSource,
    run,
    unpack,
    unpack_one,
)
from tests.gpuhost.paths import (
    REPOSITORY,
    SOURCE,
    cache_dir,
    default_run_dir,
    images_dir,
    locked,
)
from tests.gpuhost.progress import Progress

GUESTS = "var/lib/libvirt/images"
FREE_DISK_MIB = 4000
IMAGES_KEPT = 2

# Kernel modules of a GPU host, as folders or files below lib/modules/VERSION/kernel.
MODULES = (
    "crypto",
    "drivers/block",
    "drivers/char",
    "drivers/iommu",
    "drivers/net/dummy.ko",
    "drivers/net/macvlan.ko",
    "drivers/net/macvtap.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/tap.ko",
    "drivers/net/tun.ko",
    "drivers/net/veth.ko",
    "drivers/net/virtio_net.ko",
    # takes whatever it is told to: a host's own driver of cards, in tests of those
    "drivers/pci/pci-pf-stub.ko",
    "drivers/vfio",
    "drivers/vhost",
    "drivers/virtio",
    "fs/fat",
    "fs/fuse",
    "fs/isofs",
    "fs/nls",
    "lib",
    "net/802",
    "net/bridge",
    "net/core/failover.ko",
    "net/ipv4/netfilter",
    "net/ipv6/netfilter",
    "net/llc",
    "net/netfilter",
    "net/sched",
    "virt",
)
INITRD_MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
)
FOLDERS = (
    "dev",
    "etc/libvirt/nwfilter",
    "mnt",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr/local/bin",
    "var/cache/libvirt/qemu",
    "var/lib/libvirt/boot",
    "var/lib/libvirt/dnsmasq",
    "var/lib/libvirt/images",
    "var/lib/libvirt/network",
    "var/lib/libvirt/qemu",
    "var/lib/misc",
    "var/tmp",
    # serial logs of guests; the control plane defines a libvirt pool over it
    "var/log/libvirt/gpucloud",
    "var/log/libvirt/qemu",
)
# The legacy tools: under emulation twice as fast as the nft ones. Their links are made
# by maintainer scripts, which do not run here.
FIREWALL_LINKS = {
    f"{tool}{verb}": f"{tool}-legacy{verb}"
    for tool in ("iptables", "ip6tables")
    for verb in ("", "-save", "-restore")
} | {"ebtables": "ebtables-legacy", "arptables": "arptables-nft"}


@dataclass(frozen=True)
class Image:
    """A finished image: a folder named by the hash of what it was built from."""

    folder: Path

    @property
    def hash(self) -> str:
        """Return the content hash of the build inputs."""
        return self.folder.name

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd.cpio"

    @property
    def root_disk(self) -> Path:
        return self.folder / "root.raw"

    @property
    def empty_overlay(self) -> Path:
        """Return a qcow2 over the root disk, to be copied to states/ANY/."""
        return self.folder / "empty.qcow2"

    @property
    def cards_library(self) -> Path:
        return self.folder / "cards.so"

    @property
    def check_guest(self) -> Path:
        """Return the guest that scrubs and tests cards; hosts have it too."""
        return self.folder / "check.elf"

    @property
    def tiny_disk(self) -> Path:
        """Return the disk image of the guest that reports what it was given."""
        return self.folder / "tiny.qcow2"


def build_inputs() -> list[Path]:
    """Return the files that decide what an image holds, sorted."""
    fixed = [
        SOURCE / name
        for name in (
            *("image.py", "packages.py"),
            *("guest.h", "probe.c", "check.c", "tiny.c"),
            *("cards.c", "memory_maps.c", "memory_maps.h"),
        )
    ]
    return sorted(fixed + [p for p in (SOURCE / "image").rglob("*") if p.is_file()])


def wanted_image() -> Image:
    """Return the image that the present sources ask for; it may not be built yet."""
    digest = hashlib.sha256()
    for path in build_inputs():
        digest.update(f"{path.relative_to(SOURCE)}\0".encode())
        digest.update(path.read_bytes())
    return Image(images_dir() / digest.hexdigest()[:16])


def ensure_image() -> Image:
    """Return the wanted image, building it first when it is not in the cache.

    Hidden cost: 20-45 s when it has to be built. One builder at a time; others wait.
    Raises BuildFailed.
    """
    image = wanted_image()
    if image.folder.exists():
        return image
    if os.geteuid() != 0 and _namespace_works():
        command = ["unshare", "--user", "--map-root-user", sys.executable]
        done = subprocess.run(
            [*command, "-m", "tests.gpuhost", "build"],
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"GPUHOST_DIR": str(cache_dir())},
        )
        if done.returncode != 0:
            raise BuildFailed("the build in a user namespace failed; see above")
        return image
    with locked(cache_dir() / "build.lock"):
        if not image.folder.exists():
            _build(image)
    return image


def _namespace_works() -> bool:
    """Tell whether a user namespace can be had.

    Without one the files in the image belong to the builder's uid, which does no harm
    either, as everything in the host runs as root.
    """
    probe = ["unshare", "--user", "--map-root-user", "true"]
    return subprocess.run(probe, capture_output=True).returncode == 0


def _build(image: Image) -> None:
    progress = Progress("image")
    images_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=cache_dir()) as folder:
        work = Path(folder)
        out, root = work / "out", work / "root"
        out.mkdir()
        root.mkdir()
        progress.step(f"{len(HOST_PACKAGES)} packages and what they depend on: fetch")
        packages, kernel = PackageSource().fetch()
        progress.step(f"unpack {len(packages)} packages")
        unpack(packages, root)
        progress.step(f"kernel {kernel.name}")
        modules = _install_kernel(kernel, work / "kernel", root, out)
        progress.step("settings and guests")
        _configure(root)
        _build_guests(root, out, work)
        progress.step("initramfs and disk")
        _build_initrd(root, modules, out, work)
        _build_disk(root, Image(out))
        facts = {"packages": [path.name for path in [*packages, kernel]]}
        (out / "image.json").write_text(json.dumps(facts, indent=1))
        out.rename(image.folder)
    _prune(image)
    progress.step(f"done: {image.folder}")


def _install_kernel(package: Path, unpacked: Path, root: Path, out: Path) -> Path:
    """Put the kernel into `out` and the modules a GPU host needs into `root`."""
    unpack_one(package, unpacked)
    (version,) = (path.name for path in (unpacked / "lib/modules").iterdir())
    shutil.copy(unpacked / f"boot/vmlinuz-{version}", out / "vmlinuz")
    source, target = (base / "lib/modules" / version for base in (unpacked, root))
    target.mkdir(parents=True)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copy(source / name, target / name)
    for name in MODULES:
        origin, copy = source / "kernel" / name, target / "kernel" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, copy)
        elif origin.exists():
            shutil.copy(origin, copy)
    _run_from(root, "kmod", "-b", root, version, name="depmod")
    return target


def _run_from(root: Path, program: str, *words: str | Path, name: str = "") -> None:
    """Run a program of the image, which this machine may not have.

    By way of the image's own loader, so that neither its libraries nor chroot are
    needed. `name` is its argv[0]: kmod knows its task from that.
    """
    libraries = root / "lib/x86_64-linux-gnu"
    run(root / "lib64/ld-linux-x86-64.so.2", "--library-path", libraries,
        "--argv0", name or program, root / "bin" / program, *words)  # fmt: skip


def _wrap_qemu(root: Path) -> None:
    """Have vfio treat BAR 0 of the cards as the memory that it is here.

    A real NVIDIA card has registers there, and QEMU (hw/vfio/pci-quirks.c) mirrors its
    configuration space at 0x88000 of it: who fills our card's memory would reset the
    card's command register and cut it off.
    """
    qemu = root / "usr/bin/qemu-system-x86_64"
    qemu.rename(qemu.with_suffix(".real"))
    qemu.write_text(
        "#!/bin/sh\n"
        f'exec /{qemu.with_suffix(".real").relative_to(root)} "$@" '
        "-global vfio-pci.x-no-geforce-quirks=on\n"
    )
    qemu.chmod(0o755)


def _configure(root: Path) -> None:
    """Do by hand what the maintainer scripts of the packages would have done."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    shutil.copytree(SOURCE / "image/root", root, dirs_exist_ok=True)
    networks = root / "etc/libvirt/qemu/networks"
    (networks / "autostart").mkdir(exist_ok=True)
    _link(networks / "autostart/gpucloud.xml", "../gpucloud.xml")
    _install(SOURCE / "image/host-init", root / "init")
    _wrap_qemu(root)
    for link, target in FIREWALL_LINKS.items():
        _link(root / "usr/sbin" / link, target)
    for link, target in {"var/lock": "/run/lock", "var/run": "/run"}.items():
        shutil.rmtree(root / link, ignore_errors=True)
        _link(root / link, target)
    filters = (root / "usr/share/libvirt/nwfilter").glob("*.xml")
    for path in filters:
        shutil.copy(path, root / "etc/libvirt/nwfilter")
    busybox = root / "bin/busybox"
    _link(root / "bin/sh", "busybox")
    for applet in run(busybox, "--list").split():
        link = root / "usr/local/bin" / applet
        link.symlink_to("/bin/busybox")
    run("ldconfig", "-r", root)


def _build_guests(root: Path, out: Path, work: Path) -> None:
    """Build the probe and check guests into the host's root, and cards.so into `out`."""
    guests = root / GUESTS
    shutil.copy(out / "vmlinuz", guests / "vmlinuz")
    tree = work / "probe-linux"
    _install(root / "bin/busybox", tree / "bin/busybox")
    _install(SOURCE / "image/probe-linux-init", tree / "init")
    archive(tree, guests / "probe-linux.cpio", ("proc", "sys", "dev"))
    # -N and no libgcc: freestanding code, so the 32-bit libraries are not needed
    flags = (
        "-m32 -O2 -ffreestanding -nostdlib -static -fno-pic -no-pie "
        "-fno-stack-protector -fcf-protection=none -mgeneral-regs-only "
        "-Wl,-Ttext=0x100000,--build-id=none,-N,-e_start,--no-warn-rwx-segments"
    )
    for name in ("probe", "check"):
        run("gcc", *flags.split(), "-o", guests / f"{name}.elf", SOURCE / f"{name}.c")
    shutil.copy(guests / "check.elf", out / "check.elf")
    _build_tiny_disk(root, out, work)
    sources = (SOURCE / "cards.c", SOURCE / "memory_maps.c")
    run("gcc", "-shared", "-fPIC", "-O1", "-o", out / "cards.so", *sources, "-ldl")


def _build_tiny_disk(root: Path, out: Path, work: Path) -> None:
    """Build the tiny guest as a qcow2 of 1 MiB: a boot sector and what it loads."""
    program, raw = work / "tiny.elf", work / "tiny.raw"
    flags = (
        "-m16 -march=i386 -Os -ffreestanding -nostdlib -static -fno-pic -no-pie "
        "-fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables "
        "-Wl,--build-id=none,-N,-e,start,--no-warn-rwx-segments "
        "-Wl,--section-start=.start=0x7c00,-Ttext=0x7e00"
    )
    run("gcc", *flags.split(), "-o", program, SOURCE / "tiny.c")
    run("objcopy", "-O", "binary", program, raw)
    with raw.open("r+b") as disk:
        disk.truncate(1 << 20)
    _run_from(root, "qemu-img", "convert", "-f", "raw", "-O", "qcow2",
              raw, out / "tiny.qcow2")  # fmt: skip


def _build_initrd(root: Path, modules: Path, out: Path, work: Path) -> None:
    tree = work / "initrd"
    _install(root / "bin/busybox", tree / "bin/busybox")
    _install(SOURCE / "image/initrd-init", tree / "init")
    for name in INITRD_MODULES:
        (path,) = modules.rglob(f"{name}.ko")
        _install(path, tree / "modules" / path.name)
    archive(tree, out / "initrd.cpio", ("proc", "sys", "dev", "mnt"))


def _build_disk(root: Path, image: Image) -> None:
    used_mib = int(run("du", "-sm", root).split()[0])
    size = (used_mib * 12 // 10 + FREE_DISK_MIB) << 20
    disk = image.root_disk
    with disk.open("wb") as handle:
        handle.truncate(size)
    # the host is killed, never shut down, and its disk thrown away: no journal
    run("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal",
        "-E", "lazy_itable_init=1", "-d", root, disk)  # fmt: skip
    # relative to a state's folder, so that the cache folder can be moved
    backing = f"../../{disk.name}"
    _run_from(root, "qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw",
              "-b", backing, image.empty_overlay, str(size))  # fmt: skip


def archive(tree: Path, target: Path, folders: tuple[str, ...]) -> None:
    """Write `tree`, with empty `folders` added, as an initramfs."""
    for folder in folders:
        (tree / folder).mkdir(exist_ok=True)
    script = 'find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 > "$1"'
    run("sh", "-c", script, "sh", target, cwd=tree)


def _install(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
    target.chmod(0o755)


def _link(link: Path, target: str) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _prune(current: Image) -> None:
    """Remove all but the newest images, except those that a host runs from."""
    in_use = set()
    for state in default_run_dir("x").parent.glob("*/host.json"):
        in_use.add(json.loads(state.read_text()).get("image"))
    folders = sorted(images_dir().iterdir(), key=lambda p: p.stat().st_mtime)
    for folder in folders[:-IMAGES_KEPT]:
        if folder != current.folder and folder.name not in in_use:
            shutil.rmtree(folder, ignore_errors=True)
