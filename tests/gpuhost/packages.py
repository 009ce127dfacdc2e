"""Fetch Debian packages and unpack them into a folder, without installing anything.

Only apt and dpkg-deb of the machine are used, with the machine's own sources, keys and
proxy settings; their state lives in the cache folder. Works unprivileged.
"""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.gpuhost.errors import BuildFailed
from tests.gpuhost.paths import cache_dir

# What libvirtd, QEMU and hotplug need; see image.py for what is trimmed.
HOST_PACKAGES = (
    "busybox-static",
    "dnsmasq-base",
    "ebtables",
    "iproute2",
    "iptables",
    "kmod",
    "libc-bin",
    "libvirt-clients",
    "libvirt-daemon",
    "libvirt-daemon-config-nwfilter",
    "libvirt-daemon-driver-qemu",
    "numactl",
    "pci.ids",
    "qemu-system-x86",
    "qemu-utils",
    "udev",
)
KERNEL_METAPACKAGE = "linux-image-cloud-amd64"

# Parts of packages that the host never opens; skipping them halves the time to unpack.
EXCLUDED = (
    "./usr/share/doc",
    "./usr/share/man",
    "./usr/share/locale",
    "./usr/share/info",
    "./usr/share/lintian",
    "./usr/share/bash-completion",
    "./usr/share/iso-codes",
    "./usr/share/xml",
    "./usr/share/alsa",
    "./usr/share/perl*",
    "./usr/share/qemu/edk2-*",
    "./usr/bin/qemu-system-i386",
    "./usr/lib/udev/hwdb.d",
    "./lib/udev/hwdb.d",
)

ENVIRONMENT = os.environ | {
    "LC_ALL": "C",
    "DEBIAN_FRONTEND": "noninteractive",
    # an unprivileged user's PATH often lacks the folders of mkfs and depmod
    "PATH": os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin",
}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run one command of the build.

    Returns its standard output.
    Raises BuildFailed with the end of its output.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError as error:
        raise BuildFailed(f"{words[0]} is not installed on this machine") from error
    if done.returncode != 0:
        tail = (done.stdout + done.stderr)[-2000:]
        raise BuildFailed(f"{' '.join(words)[:300]}: exit {done.returncode}\n{tail}")
    return done.stdout


class PackageSource:
    """The machine's apt sources, read through a private apt state."""

    def __init__(self) -> None:
        self._apt = cache_dir() / "apt"
        self._archives = self._apt / "archives"
        (self._archives / "partial").mkdir(parents=True, exist_ok=True)
        (self._apt / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        # an empty status file: apt then thinks that nothing is installed and
        # resolves all dependencies
        (self._apt / "status").touch()
        self._lists = Path("/var/lib/apt/lists")

    def fetch(self) -> tuple[list[Path], Path]:
        """Return the paths of the host's packages and of the kernel's package.

        The machine's package lists are tried first, since reading them costs no
        network; when they are missing or stale, fresh ones are fetched into the cache.
        """
        try:
            return self._fetch()
        except BuildFailed:
            self._lists = self._apt / "lists"
            self._get("update")
            return self._fetch()

    def _fetch(self) -> tuple[list[Path], Path]:
        plan = self._get("--simulate", "install", *HOST_PACKAGES)
        wanted = re.findall(r"^Inst (\S+) \((\S+) .*\[(\S+)\]\)", plan, re.MULTILINE)
        self._get("--download-only", "install", *HOST_PACKAGES)
        kernel = self._kernel_name()
        self._get("download", kernel, cwd=self._archives)
        packages = [self._archive(*package) for package in wanted]
        return packages, max(self._archives.glob(f"{kernel}_*.deb"))

    def _archive(self, name: str, version: str, architecture: str) -> Path:
        escaped = version.replace(":", "%3a")
        bare = name.partition(":")[0]
        path = self._archives / f"{bare}_{escaped}_{architecture}.deb"
        if not path.exists():
            raise BuildFailed(f"apt did not fetch {path.name}")
        return path

    def _kernel_name(self) -> str:
        lines = run("apt-cache", *self._options(), "depends", KERNEL_METAPACKAGE)
        found = re.search(r"Depends: (linux-image-\S+)", lines)
        if not found:
            raise BuildFailed(f"{KERNEL_METAPACKAGE} is in none of the apt sources")
        return found[1]

    def _get(self, *words: str, cwd: Path | None = None) -> str:
        return run("apt-get", "-y", "-q", *self._options(), *words, cwd=cwd)

    def _options(self) -> list[str]:
        settings = {
            "Dir::State::status": self._apt / "status",
            "Dir::State::lists": self._lists,
            "Dir::Cache": self._apt,
            "Dir::Cache::archives": self._archives,
            "Debug::NoLocking": "true",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "Binary::apt-get::APT::Keep-Downloaded-Packages": "true",
            "Acquire::Retries": "3",
        }
        return [
            word for key, value in settings.items() for word in ("-o", f"{key}={value}")
        ]


def unpack(packages: list[Path], root: Path) -> None:
    """Unpack packages into `root`, laid out with merged /usr, all owned by root."""
    for folder in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / folder).mkdir(parents=True, exist_ok=True)
        (root / folder).symlink_to(f"usr/{folder}")
    with ThreadPoolExecutor(max_workers=2) as pool:
        for _ in pool.map(lambda package: unpack_one(package, root), packages):
            pass


def unpack_one(package: Path, root: Path) -> None:
    """Unpack one package into `root`."""
    excludes = [f"--exclude={pattern}" for pattern in EXCLUDED]
    root.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        [shutil.which("dpkg-deb") or "dpkg-deb", "--fsys-tarfile", str(package)],
        stdout=subprocess.PIPE,
    ) as archive:
        done = subprocess.run(
            [
                shutil.which("tar") or "tar",
                "--extract",
                "--keep-directory-symlink",
                "--no-same-owner",
                f"--directory={root}",
                *excludes,
            ],
            stdin=archive.stdout,
            capture_output=True,
            text=True,
        )
    if done.returncode != 0 or archive.returncode != 0:
        raise BuildFailed(f"unpacking {package.name}: {done.stderr[-500:]}")
