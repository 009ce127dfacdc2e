"""At which libvirt addresses a connection may be opened, and why one does not answer; pure."""

import re
from urllib.parse import unquote

from inventory.hypervisor.schemes import added_opener

_WAYS = {
    "qemu+tls": "Is virtproxyd-tls.socket (or libvirtd-tls.socket) active there, port "
    "16514 open, the server's certificate made out to this name, and this machine's "
    "client certificate in /etc/pki/libvirt signed by the same CA?",
    "qemu+ssh": "Can the user of this process run `ssh HOST virsh -c qemu:///system list` "
    "without a password, with the host's key in known_hosts and in group libvirt there?",
    "qemu+tcp": "Is libvirtd-tcp.socket (or virtproxyd-tcp.socket) active there, and the "
    "address and port (16509 if none is given) right? TCP is for labs.",
    "qemu": "Is libvirtd (or virtqemud) running on this machine, and the user of this "
    "process in group libvirt?",
}
_WAYS["qemu+libssh2"] = _WAYS["qemu+libssh"] = _WAYS["qemu+ssh"]


def problem_of(uri: str) -> str:
    """Return why nothing must be opened at `uri`, empty if it may be."""
    if uri.partition("://")[0] not in _WAYS and added_opener(uri) is None:
        return (
            f"{uri!r} is no libvirt address of a QEMU host, such as "
            "qemu+tls://HOST/system"
        )
    # libvirt's remote driver compares the names of parameters without their case.
    if re.search(r"[?&;]\s*command\s*=", unquote(uri), re.IGNORECASE):
        return f"{uri!r} names a command, which would run on this machine"
    return ""


def weakness_of(uri: str) -> str:
    """Return why what answers at `uri` may be anybody, empty if it is known who does."""
    if uri.startswith("qemu+tcp://"):
        return "qemu+tcp is neither encrypted nor authenticated"
    # libvirt remote "no_verify", and "known_hosts_verify" of its SSH libraries.
    for word in re.findall(r"[?&;]\s*([^&;]+)", unquote(uri)):
        name, _, value = (part.strip().lower() for part in word.partition("="))
        if name == "no_verify" and value != "0":
            return "no_verify takes any server for the host"
        if name == "known_hosts_verify" and value != "normal":
            return f"known_hosts_verify={value} takes any server for the host"
    return ""


def way_to(uri: str) -> str:
    """Return what to look at when nobody answers at `uri`, by its transport."""
    return _WAYS.get(
        uri.partition("://")[0],
        "Name a QEMU host over TLS or SSH, such as qemu+tls://HOST/system.",
    )
