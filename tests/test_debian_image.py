"""The Debian image that `build_image` makes, booted by QEMU alone with a seed of ours.

Under the virtual host it would be emulated twice, which takes ten times as long.
"""

import hashlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from instances.cloud_init import (
    NetworkSettings,
    Seed,
    hash_password,
    seed_files,
    seed_image,
)
from instances.image_build import debian12
from tests.gpuhost.paths import cache_dir, locked

pytestmark = pytest.mark.gpuhost
BOOT_S = 900
DISK_MIB = 3072
USER_DATA = b"""#!/bin/sh
exec > /dev/ttyS0
echo
echo "REPORT hostname=$(hostname)"
echo "REPORT disk_mib=$(df -m --output=size / | tail -1)"
echo "REPORT address=$(ip -4 -o address show eth0 | awk '{print $4}')"
echo "REPORT route=$(ip route | awk '/default/ {print $3}')"
echo "REPORT resolver=$(grep -c 10.0.2.3 /run/systemd/resolve/resolv.conf)"
echo "REPORT shadow=$(grep ^root: /etc/shadow | cut -d: -f2)"
echo "REPORT uptime=$(cut -d. -f1 /proc/uptime)"
echo "REPORT done"
"""


@dataclass(frozen=True)
class Guest:
    """A guest that has reported. report: name -> value."""

    report: dict[str, str]
    ssh_port: int
    password_hash: str
    private_key: Path


@pytest.fixture(scope="module")
def image() -> Path:
    """Build the image, once per content of what it is built from; minutes."""
    if os.geteuid() != 0:
        pytest.skip("building the image needs root")
    source = Path(debian12.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        if path.suffix != ".pyc":
            digest.update(path.read_bytes())
    target = cache_dir() / f"debian12-{digest.hexdigest()[:16]}.qcow2"
    with locked(cache_dir() / "debian12.lock"):
        if not target.exists():
            for old in cache_dir().glob("debian12-*.qcow2"):
                old.unlink()
            debian12.build(target, print)
    return target


@pytest.fixture(scope="module")
def guest(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """Give a guest of the image that has run its user data."""
    folder = tmp_path_factory.mktemp("debian")
    key = folder / "key"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    password_hash = hash_password("Sonnenblume-7")
    network = NetworkSettings(
        "02:67:0a:00:02:0f", "10.0.2.15", 24, "10.0.2.2", ("10.0.2.3",)
    )
    seed = Seed(
        instance_id="test-1",
        hostname="web-1",
        authorized_keys=((folder / "key.pub").read_text().strip(),),
        password_hash=password_hash,
        user_data=USER_DATA,
        network=network,
    )
    (folder / "seed.iso").write_bytes(seed_image(seed_files(seed)))
    run(
        *("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image)),
        *(str(folder / "disk.qcow2"), f"{DISK_MIB}M"),
    )
    port = free_port()
    machine = subprocess.Popen(  # noqa: S603 -- our own words
        qemu(folder, network.mac, port)
    )
    try:
        report = wait_for_report(folder / "serial.log", machine)
        yield Guest(report, port, password_hash, key)
    finally:
        machine.kill()
        machine.wait()


def run(*command: str) -> str:
    done = subprocess.run(  # noqa: S603 -- our own words
        command, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def qemu(folder: Path, mac: str, port: int) -> list[str]:
    disks = []
    for number, (name, form) in enumerate(
        (("disk.qcow2", "qcow2"), ("seed.iso", "raw"))
    ):
        read_only = ",readonly=on" if number else ""
        drive = f"if=none,id=d{number},file={folder / name},format={form}{read_only}"
        disks += ["-drive", drive]
        disks += ["-device", f"virtio-blk-pci,drive=d{number},bootindex={number}"]
    return [
        *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi"),
        *("-cpu", "max", "-smp", "2", "-m", "640", "-nodefaults", "-display", "none"),
        *("-serial", f"file:{folder / 'serial.log'}"),
        *("-netdev", f"user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", f"virtio-net-pci,netdev=n,mac={mac},romfile="),
        *disks,
    ]


def wait_for_report(log: Path, machine: subprocess.Popen[bytes]) -> dict[str, str]:
    deadline = time.monotonic() + BOOT_S
    text = ""
    while "REPORT done" not in text:
        assert machine.poll() is None, "QEMU ended"
        assert time.monotonic() < deadline, text[-3000:]
        time.sleep(1)
        text = log.read_text(errors="replace") if log.exists() else ""
    pairs = [
        line.partition("REPORT ")[2].strip().partition("=")
        for line in text.splitlines()
        if "REPORT " in line and "=" in line
    ]
    return {name: value.strip() for name, _, value in pairs}


def test_guest_is_what_its_seed_says(guest: Guest) -> None:
    report = guest.report

    assert report["hostname"] == "web-1"
    assert (report["address"], report["route"]) == ("10.0.2.15/24", "10.0.2.2")
    assert report["resolver"] == "1"
    assert report["shadow"] == guest.password_hash
    assert DISK_MIB * 0.9 < int(report["disk_mib"]) <= DISK_MIB


def test_customer_logs_in_with_the_key(guest: Guest) -> None:
    options = [
        *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
        *("-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "-i"),
    ]
    said = run(
        *("ssh", *options, str(guest.private_key), "-p", str(guest.ssh_port)),
        *("root@127.0.0.1", "cat /etc/debian_version; nproc"),
    )

    version, processors = said.split()
    assert version.startswith("12.")
    assert processors == "2"
