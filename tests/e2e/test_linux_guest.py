"""A whole Linux on a libvirtd of this machine: what cloud-init makes of our seed.

Under the virtual host it would be emulated twice, which takes ten times as long.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from passlib.hash import sha512_crypt

from instances.image_build import debian12
from tests.e2e.conftest import Stack
from tests.e2e.observing import decide, rows
from tests.e2e.test_launch_on_the_virtual_host import Customer
from tests.gpuhost.local_libvirtd import (
    BRIDGE,
    GATEWAY,
    LocalLibvirtd,
    local_libvirtd,
)
from tests.gpuhost.paths import cache_dir, locked

pytestmark = [pytest.mark.e2e, pytest.mark.gpuhost]
HOST = "e2e-linux"
IMAGE = "linode/debian12"
PLAN = "lab-standard-2"
MEMORY_MIB, DISK_MIB = 640, 3072
PASSWORD, NEW_PASSWORD = "Sonnenblume-7", "Ringelblume-8"
OWN_PASSWORD = "Kornblume-9"
BUSY = [{"reason": "Linode busy."}]
BOOT_S = 900
USER_DATA = b"""#!/bin/sh
exec > /dev/ttyS0
echo
echo "REPORT hostname=$(hostname)"
echo "REPORT disk_mib=$(df -m --output=size / | tail -1)"
echo "REPORT memory_mib=$(free -m | awk '/^Mem/ {print $2}')"
echo "REPORT address=$(ip -4 -o address show eth0 | awk '{print $4}')"
echo "REPORT route=$(ip route | awk '/default/ {print $3}')"
echo "REPORT resolver=$(grep -c 9.9.9.9 /run/systemd/resolve/resolv.conf)"
touch /root/user-data-ran
echo "REPORT done=yes"
"""


@pytest.fixture(scope="module")
def image() -> Path:
    """Build the image, once per content of what it is built from; minutes."""
    if os.geteuid() != 0:
        pytest.skip("building the image and starting libvirtd need root")
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
def libvirtd(stack: Stack, image: Path) -> Iterator[LocalLibvirtd]:
    """Give the only host that takes instances; it has the image on offer."""
    folder = Path(stack.django.env["GPUCLOUD_IMAGE_FOLDER"])
    shutil.copyfile(image, folder / "debian12.qcow2")
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    stack.manage("add_image", IMAGE, "debian12.qcow2", digest, "--label", "Debian 12")
    decide(stack, stack.hosts[0].name, "no_provision")
    try:
        with local_libvirtd() as libvirtd:
            enrol(stack, libvirtd)
            yield libvirtd
            decide(stack, HOST, "retired")
    finally:
        decide(stack, stack.hosts[0].name, "in_service")


def enrol(stack: Stack, libvirtd: LocalLibvirtd) -> None:
    stack.manage(
        *("enrol_host", libvirtd.uri, "--plain", "--region", "us-east"),
        *("--name", HOST, "--reserve-cpus-per-node", "0"),
        *("--reserve-memory-mib-per-node", "0"),
    )
    stack.manage(
        *("set_up_guests", HOST, "--bridge", BRIDGE, "--own-addresses"),
        *("--subnet", "10.79.0.0/24", "--gateway", GATEWAY, "--nameserver", "9.9.9.9"),
        *("--first", "10.79.0.10", "--last", "10.79.0.20"),
    )


class Guest:
    """A customer's machine, and the customer's key."""

    def __init__(self, customer: Customer, libvirtd: LocalLibvirtd, keys: Path) -> None:
        self._customer = customer
        self._libvirtd = libvirtd
        self._key = keys / "key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key))
        self.settings = {
            "image": IMAGE,
            "authorized_keys": [self._key.with_suffix(".pub").read_text().strip()],
            "root_pass": PASSWORD,
        }
        status, instance = customer.call(
            "POST",
            "/v4/linode/instances",
            {
                **self.settings,
                "type": PLAN,
                "region": "us-east",
                "label": "web_1",
                "metadata": {"user_data": base64.b64encode(USER_DATA).decode()},
            },
        )
        assert status == 200, instance
        self.id = instance["id"]
        self.path = f"/v4/linode/instances/{self.id}"
        (self.address,) = customer.wait_for(self.id, "running")["ipv4"]

    def act(self, verb: str, then: str, **fields: object) -> None:
        """Ask for a verb once nothing is under way, and wait for what follows it."""
        status, answer = 400, {"errors": BUSY}
        while (status, answer) == (400, {"errors": BUSY}):
            time.sleep(1)
            status, answer = self._customer.call("POST", f"{self.path}/{verb}", fields)
        assert status == 200, answer
        self.wait_for(then)

    def wait_for(self, status: str) -> None:
        self._customer.wait_for(self.id, status)

    def console(self, until: str) -> str:
        return self._customer.console(self.id, until, BOOT_S)

    def report(self) -> dict[str, str]:
        """Return what the user data printed, once they have run."""
        pairs = [
            line.partition("REPORT ")[2].strip().partition("=")
            for line in self.console(until="REPORT done").splitlines()
            if "REPORT " in line
        ]
        return {name: value.strip() for name, _, value in pairs}

    def ssh(self, command: str) -> str:
        """Return what a command prints, as root with the customer's key."""
        deadline = time.monotonic() + BOOT_S
        while True:
            done = self._libvirtd.run(
                *("ssh", "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes"),
                *("-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=60"),
                *("-i", str(self._key), f"root@{self.address}", command),
            )
            if done.returncode == 0:
                return done.stdout.strip()
            assert time.monotonic() < deadline, done.stderr
            time.sleep(1)

    def host_key(self) -> str:
        return self.ssh("cat /etc/ssh/ssh_host_ed25519_key.pub")

    def has_password(self, password: str) -> bool:
        """Say so once cloud-init is done: it may set the password when sshd is up already."""
        done = "cloud-init status --wait > /dev/null"
        shadow = self.ssh(f"{done}; grep ^root: /etc/shadow | cut -d: -f2")
        return bool(sha512_crypt.verify(password, shadow))


@pytest.fixture
def guest(stack: Stack, libvirtd: LocalLibvirtd, tmp_path: Path) -> Iterator[Guest]:
    customer = Customer(stack, "employee")
    made = Guest(customer, libvirtd, tmp_path)
    yield made
    customer.call("DELETE", made.path)
    customer.wait_gone(made.id)


def run(*command: str) -> str:
    done = subprocess.run(  # noqa: S603 -- our own words
        command, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_linux_guest_lives_as_its_customer_asks(stack: Stack, guest: Guest) -> None:
    """One machine through all of it: each boot takes a minute."""
    report = guest.report()
    assert report["hostname"] == "web-1"
    assert DISK_MIB * 0.9 < int(report["disk_mib"]) <= DISK_MIB
    assert MEMORY_MIB * 0.8 < int(report["memory_mib"]) <= MEMORY_MIB
    assert (report["address"], report["route"]) == (f"{guest.address}/24", GATEWAY)
    assert report["resolver"] == "1"
    version, processors = guest.ssh("cat /etc/debian_version; nproc").split()
    assert version.startswith("12.")
    assert processors == "1"
    assert guest.has_password(PASSWORD)
    assert rows(stack, "SeedSettings.objects.count()") == 0

    host_key = guest.host_key()
    guest.act("shutdown", "offline")
    # By ACPI: what is cut off says nothing.
    guest.console(until="Power down")
    guest.act("password", "offline", root_pass=NEW_PASSWORD)
    guest.act("boot", "running")
    assert guest.has_password(NEW_PASSWORD)
    assert guest.host_key() == host_key
    assert guest.ssh("ls /root") == "user-data-ran"

    # What the customer does inside is theirs: it stays off, though its watchdog is on, and
    # no later boot undoes the password.
    guest.ssh(
        f"echo root:{OWN_PASSWORD} | chpasswd -c SHA512; systemctl poweroff --no-block"
    )
    guest.wait_for("offline")
    guest.act("boot", "running")
    assert guest.has_password(OWN_PASSWORD)

    guest.act("rebuild", "running", **guest.settings)
    assert guest.host_key() != host_key
    assert guest.ssh("ls /root") == ""
    assert guest.has_password(PASSWORD)
