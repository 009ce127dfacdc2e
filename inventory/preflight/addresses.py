"""At which libvirt addresses a connection may be opened, and why one does not answer; pure."""

import re
from urllib.parse import unquote

from inventory.hypervisor.schemes import added_opener
from inventory.words import msgid, say

_WAYS = {
    "qemu+tls": msgid(
        "Is virtproxyd-tls.socket (or libvirtd-tls.socket) active there, port "
        "16514 open, the server's certificate made out to this name, and this machine's "
        "client certificate in /etc/pki/libvirt signed by the same CA?"
    ),
    "qemu+ssh": msgid(
        "Can the user of this process run `ssh HOST virsh -c qemu:///system list` "
        "without a password, with the host's key in known_hosts and in group libvirt there?"
    ),
    "qemu+tcp": msgid(
        "Is libvirtd-tcp.socket (or virtproxyd-tcp.socket) active there, and the "
        "address and port (16509 if none is given) right? TCP is for labs."
    ),
    "qemu": msgid(
        "Is libvirtd (or virtqemud) running on this machine, and the user of this "
        "process in group libvirt?"
    ),
}
_WAYS["qemu+libssh2"] = _WAYS["qemu+libssh"] = _WAYS["qemu+ssh"]


def problem_of(uri: str) -> str:
    """Return why nothing must be opened at `uri`, empty if it may be."""
    if uri.partition("://")[0] not in _WAYS and added_opener(uri) is None:
        return say(
            "%(uri)s is no libvirt address of a QEMU host, such as "
            "qemu+tls://HOST/system"
        ) % {"uri": f"{uri!r}"}
    # libvirt's remote driver compares the names of parameters without their case.
    if re.search(r"[?&;]\s*command\s*=", unquote(uri), re.IGNORECASE):
        return say("%(uri)s names a command, which would run on this machine") % {
            "uri": f"{uri!r}"
        }
    return ""


def weakness_of(uri: str) -> str:
    """Return why what answers at `uri` may be anybody, empty if it is known who does."""
    if uri.startswith("qemu+tcp://"):
        return say("qemu+tcp is neither encrypted nor authenticated")
    # libvirt remote "no_verify", and "known_hosts_verify" of its SSH libraries.
    for word in re.findall(r"[?&;]\s*([^&;]+)", unquote(uri)):
        name, _, value = (part.strip().lower() for part in word.partition("="))
        if name == "no_verify" and value != "0":
            return say("no_verify takes any server for the host")
        if name == "known_hosts_verify" and value != "normal":
            return say("known_hosts_verify=%(value)s takes any server for the host") % {
                "value": value
            }
    return ""


def way_to(uri: str) -> str:
    """Return what to look at when nobody answers at `uri`, by its transport."""
    way = _WAYS.get(
        uri.partition("://")[0],
        msgid("Name a QEMU host over TLS or SSH, such as qemu+tls://HOST/system."),
    )
    return say(way)
