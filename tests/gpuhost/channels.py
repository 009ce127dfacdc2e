"""Talk to what runs inside a host: its debug shell and its libvirtd, over loopback."""

import socket
import struct
import time

from tests.gpuhost.errors import CommandFailed, ShellFailed

# split in the text that is sent, so that no echo of it can be taken for the mark
_END = "__GPUHOST" + "_END__"
_END_SENT = "__GPUHOST''_END__"


def shell(port: int, command: str, timeout_s: float = 60) -> str:
    """Run a command as root inside the host, by its busybox shell.

    Returns its output, stdout and stderr together.
    Raises CommandFailed on a status other than 0, ShellFailed when nobody answers.
    """
    script = f"exec 2>&1\n( {command}\n)\necho; echo {_END_SENT} $?; exit\n"
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_s) as link:
            link.settimeout(timeout_s)
            link.sendall(script.encode())
            while chunk := link.recv(65536):
                received += chunk
    except OSError as error:
        raise ShellFailed(f"debug shell: {error}") from error
    text, mark, status = received.decode(errors="replace").rpartition(_END)
    if not mark:
        raise ShellFailed(f"debug shell ended early: {text[-300:]!r}")
    output = text.rstrip("\n")
    if int(status) != 0:
        raise CommandFailed(command, int(status), output)
    return output


# libvirt's src/remote/remote_protocol.x: program, version, and the one call that is
# allowed before authentication. QEMU accepts a forwarded connection even when nobody
# listens inside, so only an answer proves that libvirtd serves.
_REMOTE_PROGRAM = 0x20008086
_REMOTE_VERSION = 1
_PROC_AUTH_LIST = 66


def libvirtd_answers(port: int, timeout_s: float = 5) -> bool:
    """Tell whether libvirtd serves calls; its drivers are then initialised."""
    call = struct.pack(
        ">7I", 28, _REMOTE_PROGRAM, _REMOTE_VERSION, _PROC_AUTH_LIST, 0, 1, 0
    )
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_s) as link:
            link.settimeout(timeout_s)
            link.sendall(call)
            return len(link.recv(28)) == 28
    except OSError:
        return False


def wait_for_shell(port: int, deadline: float) -> None:
    """Wait until the debug shell answers.

    Raises ShellFailed when time.monotonic() passes `deadline`.
    """
    while True:
        try:
            shell(port, "true", timeout_s=5)
        except ShellFailed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
