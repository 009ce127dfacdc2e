"""The driver's process ends with the process that made it, whatever libvirt is at."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from instances.processes import is_running

ROOT = Path(__file__).resolve().parents[2]
PARENT = """
import sys, time
from inventory.hypervisor.child import DriverChild
child = DriverChild(sys.argv[1])
print(child._process.pid, flush=True)
time.sleep(600)
"""
NEVER_S = 60.0


def test_driver_that_hangs_in_open_ends_with_its_parent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"qemu+tcp://127.0.0.1:{silent.getsockname()[1]}/system"
        parent = subprocess.Popen(  # noqa: S603 -- our own script
            [sys.executable, "-c", PARENT, uri], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert parent.stdout
        child = int(parent.stdout.readline())
        silent.settimeout(NEVER_S)
        peer, _ = silent.accept()  # libvirt is in open() now, and nobody will answer
        assert is_running(child)

        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()

        deadline = time.monotonic() + NEVER_S
        while is_running(child):
            assert time.monotonic() < deadline, "the driver outlives its parent"
            time.sleep(0.05)
        peer.close()
        parent.stdout.close()
