"""Build a bootable Debian 12 cloud image from Debian's packages.

A root folder by mmdebstrap with the machine's own package sources, an ext4 filesystem
filled from it by mkfs, GRUB's core image in the gap before it: no loop device, no mount of
the image. Root's rights are needed, as packages' scripts run in a chroot.
"""

import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SUITE = "bookworm"
PACKAGES = (
    *("systemd-sysv", "systemd-resolved", "udev", "dbus", "libpam-systemd"),
    *("linux-image-cloud-amd64", "initramfs-tools", "zstd"),
    *("grub-pc-bin", "grub2-common"),
    *("cloud-init", "cloud-guest-utils", "fdisk", "e2fsprogs"),
    *("openssh-server", "sudo", "iproute2", "iputils-ping", "netbase"),
    *("ca-certificates", "qemu-guest-agent"),
)
# Debian packages of the commands that a build runs.
_COMMANDS = {
    "mmdebstrap": "mmdebstrap",
    "mkfs.ext4": "e2fsprogs",
    "qemu-img": "qemu-utils",
    "chroot": "coreutils",
}
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_FILES = Path(__file__).parent / "root"
_LABEL = "gpucloud-root"
_CMDLINE = f"root=LABEL={_LABEL} ro console=ttyS0 net.ifnames=0 quiet"
_GRUB_MODULES = (
    *("biosdisk", "part_msdos", "ext2", "normal", "linux", "configfile"),
    *("search", "search_label", "serial", "terminal", "echo", "test"),
)
_SECTOR = 512
_FIRST_SECTOR = 2048
_SPARE_MIB = 160
# What a cloud guest has no use for, and what makes its first boot slow.
_DELETED = (
    *("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale"),
    *("usr/share/lintian", "var/lib/apt/lists", "var/cache/apt", "var/log"),
)
_ENABLED = ("systemd-networkd", "systemd-resolved", "ssh", "serial-getty@ttyS0")
_MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer"),
    *("e2scrub_reap.service", "dpkg-db-backup.timer", "getty@tty1.service"),
    *("getty-static.service", "systemd-networkd-wait-online.service"),
    "cloud-init-hotplugd.socket",
)


class BuildFailed(Exception):
    """The image could not be built; str() says why and what to do."""


@dataclass(frozen=True, slots=True)
class Built:
    """digest: SHA-256 of the file. virtual_bytes: the disk that a guest sees."""

    path: Path
    digest: str
    file_bytes: int
    virtual_bytes: int


def build(target: Path, say: Callable[[str], None]) -> Built:
    """Build the image as qcow2 at `target`; minutes. Raises BuildFailed.

    say: is told of each step. `target` appears when it is whole.
    """
    _check_machine()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="debian12-", dir=target.parent) as folder:
        work = Path(folder)
        root = work / "root"
        say(f"{len(PACKAGES)} packages and what they depend on")
        _bootstrap(root)
        say("settings and boot loader")
        core = _configure(root)
        say("disk")
        disk = _write_disk(root, core, work)
        part = work / "image.qcow2"
        compact = ["-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd"]
        _run("qemu-img", "convert", *compact, disk, part)
        built = Built(target, _digest(part), part.stat().st_size, disk.stat().st_size)
        part.replace(target)
    return built


def _check_machine() -> None:
    missing = sorted(
        {package for name, package in _COMMANDS.items() if not _which(name)}
    )
    if missing:
        raise BuildFailed(
            f"missing: {' '.join(missing)}. Run: "
            f"apt-get install --no-install-recommends {' '.join(missing)}"
        )
    if os.geteuid() != 0:
        raise BuildFailed(
            "only root can run packages' scripts in a chroot: run it by sudo"
        )


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_PATH}")


def _run(*command: str | Path) -> None:
    words = [str(word) for word in command]
    program = _which(words[0]) or words[0]
    done = subprocess.run(  # noqa: S603 -- no shell, no word of a stranger
        [program, *words[1:]],
        env=os.environ | {"PATH": _PATH, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        tail = (done.stdout + done.stderr)[-1500:]
        raise BuildFailed(f"{' '.join(words)[:200]}: exit {done.returncode}\n{tail}")


def _bootstrap(root: Path) -> None:
    sources = [Path("/etc/apt/sources.list")]
    sources += sorted(Path("/etc/apt/sources.list.d").glob("*.sources"))
    named = [path for path in sources if path.exists() and path.stat().st_size]
    if not named:
        raise BuildFailed("this machine has no package sources below /etc/apt")
    options = ["--quiet", "--mode=root", "--variant=minbase"]
    options += [f"--include={','.join(PACKAGES)}"]
    options += ["--aptopt=APT::Install-Recommends false"]
    _run("mmdebstrap", *options, SUITE, root, *named)


def _configure(root: Path) -> Path:
    """Set the system up, and return GRUB's core image."""
    shutil.copytree(_FILES, root, dirs_exist_ok=True)
    for name in _DELETED:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir()
    # Each guest makes its own.
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/machine-id").write_text("")
    (root / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    (root / "etc/hostname").write_text("localhost\n")
    (root / "etc/fstab").write_text(f"LABEL={_LABEL} / ext4 rw,noatime 0 1\n")
    resolver = root / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    resolver.symlink_to("/run/systemd/resolve/stub-resolv.conf")
    _run("chroot", root, "systemctl", "-q", "enable", *_ENABLED)
    _run("chroot", root, "systemctl", "-q", "mask", *_MASKED)
    return _boot_loader(root)


def _boot_loader(root: Path) -> Path:
    (version,) = (path.name for path in (root / "lib/modules").iterdir())
    folder = root / "boot/grub"
    folder.mkdir(exist_ok=True)
    # Until the first kernel upgrade has update-grub write another.
    (folder / "grub.cfg").write_text(
        "serial --unit=0 --speed=115200\n"
        "terminal_input serial\nterminal_output serial\nset timeout=0\n"
        f"search --no-floppy --label --set=root {_LABEL}\n"
        f"linux /boot/vmlinuz-{version} {_CMDLINE}\n"
        f"initrd /boot/initrd.img-{version}\nboot\n"
    )
    _run(
        *("chroot", root, "grub-mkimage", "-O", "i386-pc"),
        *("-p", "(hd0,msdos1)/boot/grub", "-o", "/boot/grub/core.img"),
        *_GRUB_MODULES,
    )
    return folder / "core.img"


def _write_disk(root: Path, core: Path, work: Path) -> Path:
    """Return a raw disk: boot sector, core image, one partition."""
    used = sum(p.lstat().st_blocks for p in root.rglob("*")) * _SECTOR >> 20
    size_mib = used * 11 // 10 + _SPARE_MIB
    partition = work / "partition"
    with partition.open("wb") as file:
        file.truncate(size_mib << 20)
    _run(
        *("mkfs.ext4", "-q", "-F", "-L", _LABEL, "-m", "0"),
        # GRUB 2.06 reads neither of them.
        *("-O", "^metadata_csum_seed,^orphan_file", "-E", "lazy_itable_init=1"),
        *("-d", root, partition),
    )
    loader = (root / "usr/lib/grub/i386-pc/boot.img").read_bytes()
    core_image = core.read_bytes()
    if len(core_image) > (_FIRST_SECTOR - 1) * _SECTOR:
        raise BuildFailed("GRUB's core image does not fit before the partition")
    disk = work / "disk.raw"
    with disk.open("wb") as file:
        file.write(boot_sector(loader, _FIRST_SECTOR, (size_mib << 20) // _SECTOR))
        file.write(core_image)
        file.truncate(_FIRST_SECTOR * _SECTOR)
    with disk.open("r+b") as file, partition.open("rb") as source:
        file.seek(_FIRST_SECTOR * _SECTOR)
        _copy_sparsely(source, file)
    return disk


def _copy_sparsely(source: BinaryIO, target: BinaryIO) -> None:
    while part := source.read(1 << 20):
        if part.strip(b"\0"):
            target.write(part)
        else:
            target.seek(len(part), os.SEEK_CUR)
    target.truncate()


def boot_sector(loader: bytes, first: int, sectors: int) -> bytes:
    """Return an MBR with GRUB's boot.img and one active Linux partition.

    grub-mkimage writes the core image for the sector after this one, which is where
    boot.img looks for it.
    """
    sector = bytearray(_SECTOR)
    sector[:440] = loader[:440]
    sector[440:446] = b"GPUC\0\0"
    # CHS addresses say "too far": everybody reads the sector numbers.
    entry = struct.pack(
        "<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", first, sectors
    )
    sector[446:462] = entry
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
