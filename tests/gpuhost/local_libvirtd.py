"""A libvirtd on this machine, in namespaces of its own: what it makes goes with it.

The virtual GPU host emulates its guests twice, which is too slow for a whole Linux; here
they are emulated once. There is one NUMA node, and no IOMMU.
"""

import os
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

BRIDGE = "gpucloud0"
GATEWAY = "10.79.0.1"
_START_S = 60
_COPY_BYTES = 1 << 16
# Its own folders and accounts, no /dev/kvm (that of a virtual machine may not work), a
# bridge that nobody else sees. The shell is the first process of its PID namespace: with
# it all others end. Runs in the work folder.
_SCRIPT = f"""
set -eu
work=$PWD
mkdir -p etc/libvirt/qemu var/lib/libvirt/qemu var/log/libvirt/qemu var/cache/libvirt/qemu
cp -r /etc/libvirt/nwfilter etc/libvirt/
for folder in etc/libvirt var/lib var/log var/cache; do
    mount --bind $folder /$folder
done
mount -t tmpfs tmpfs /run
mkdir /run/libvirt
for name in passwd group; do
    grep -v '^libvirt-qemu:' /etc/$name > $name || true
done
echo 'libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin' >> passwd
echo 'libvirt-qemu:x:64055:' >> group
grep -q '^libvirt:' group || echo 'libvirt:x:64057:' >> group
grep -q '^kvm:' group || echo 'kvm:x:64056:' >> group
mount --bind passwd /etc/passwd
mount --bind group /etc/group
[ ! -e /dev/kvm ] || mount --bind /dev/null /dev/kvm
ip link set lo up
ip link add {BRIDGE} type bridge
ip address add {GATEWAY}/24 dev {BRIDGE}
ip link set {BRIDGE} up
cat > /etc/libvirt/qemu.conf <<'END'
user = "root"
group = "root"
security_driver = "none"
dynamic_ownership = 0
remember_owner = 0
namespaces = []
stdio_handler = "file"
END
cat > libvirtd.conf <<END
auth_unix_rw = "none"
unix_sock_dir = "$work"
END
cat more.conf >> libvirtd.conf
# Somebody has to reap what QEMU's daemons leave, or libvirt waits 40 s for each.
libvirtd $listen --config libvirtd.conf --pid-file "$work/pid" &
wait $!
"""


@dataclass(frozen=True)
class LocalLibvirtd:
    """A libvirtd that answers. uri: over TCP, on loopback."""

    uri: str
    process_id: int

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in its network, where its guests are."""
        return subprocess.run(
            ["nsenter", f"--net=/proc/{self.process_id}/ns/net", *command],
            capture_output=True,
            text=True,
            check=False,
        )


@contextmanager
def local_libvirtd(more: str = "") -> Iterator[LocalLibvirtd]:
    """Start one and end it, with its guests, disks and network. Needs root.

    more: of libvirtd.conf; with it, it listens to its own network, too.
    Raises RuntimeError with what it printed if it does not start.
    """
    # Not pytest's folder: the path of a Unix socket has 107 characters at most.
    work = Path(tempfile.mkdtemp(prefix="gpucloud-libvirtd-"))
    log = work / "log"
    (work / "more.conf").write_text(more)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *("unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc"),
                *("--kill-child", "sh", "-c", _SCRIPT),
            ],
            cwd=work,
            env={**os.environ, "listen": "--listen" if more else ""},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        with _relayed_to(work / "libvirt-sock") as port:
            _wait_until_it_listens(work / "libvirt-sock", process, log)
            yield LocalLibvirtd(f"qemu+tcp://127.0.0.1:{port}/system", process.pid)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(work, ignore_errors=True)


def _wait_until_it_listens(
    path: Path, process: subprocess.Popen[bytes], log: Path
) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"libvirtd did not start:\n{log.read_text()}")
        time.sleep(0.1)


class _Relay(socketserver.BaseRequestHandler):
    """Copy both ways between a TCP client and the socket named by the server."""

    server: "_RelayServer"

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as target:
            target.connect(str(self.server.target))
            back = threading.Thread(target=_copy, args=(target, self.request))
            back.start()
            _copy(self.request, target)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_COPY_BYTES):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class _RelayServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    target: Path


@contextmanager
def _relayed_to(path: Path) -> Iterator[int]:
    """Give a TCP port on loopback that leads to a Unix socket in any network."""
    with _RelayServer(("127.0.0.1", 0), _Relay) as server:
        server.target = path
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
