"""Write the NoCloud seed that a guest's cloud-init reads at its first boot; pure.

Source: cloud-init, "NoCloud" and "Network config version 2". What we set goes into
vendor-data, so that the customer's user-data stays theirs byte for byte and wins; keys go
into meta-data, where no `users:` of user-data can lose them.
"""

import hashlib
import io
import re
import shlex
import struct
from dataclasses import dataclass, field
from typing import Any

import pycdlib
import yaml
from passlib.hash import sha512_crypt
from pycdlib.pycdlibexception import PyCdlibException

VOLUME_LABEL = "cidata"
# A guest checks it at each login; glibc's own default is 5,000.
_CRYPT_ROUNDS = 50_000
_LONGEST_HOSTNAME = 63
# What pycdlib raises of an image that ends early or has holes, or that somebody made up.
_NOT_WHOLE = (PyCdlibException, struct.error, ValueError, LookupError)
# Far beyond the keys that one request can name.
_LARGEST_META_DATA = 1 << 20


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """A guest's static addresses. ipv6: empty, or of a /64 that routers advertise."""

    mac: str
    ipv4: str
    prefix_length: int
    gateway: str
    nameservers: tuple[str, ...] = ()
    ipv6: str = ""


@dataclass(frozen=True, slots=True)
class Seed:
    """All that a seed is made from. repr() shows no secret.

    instance_id: another one makes cloud-init take the disk for a new machine's.
    password_hash: of root, by hash_password(); empty: root has no password.
    password_reset: a name by which a machine that was set up takes the password once.
    """

    instance_id: str
    hostname: str
    authorized_keys: tuple[str, ...] = ()
    password_hash: str = field(default="", repr=False)
    user_data: bytes = field(default=b"", repr=False)
    network: NetworkSettings | None = None
    password_reset: str = ""


def hash_password(password: str) -> str:
    """Return the SHA-512 crypt hash of a password, with a salt of its own (crypt(5))."""
    return str(sha512_crypt.using(rounds=_CRYPT_ROUNDS).hash(password))


def hostname_of(label: str) -> str:
    """Return a label as a host name (RFC 1123: letters, digits, hyphens; at most 63)."""
    name = re.sub(r"[^a-z0-9]+", "-", label.lower())[:_LONGEST_HOSTNAME].strip("-")
    return name or "localhost"


def seed_files(seed: Seed) -> dict[str, bytes]:
    """Return file name -> content."""
    files = {
        "meta-data": _yaml(
            {
                "instance-id": seed.instance_id,
                "local-hostname": seed.hostname,
                "public-keys": list(seed.authorized_keys),
            }
        ),
        "user-data": seed.user_data,
        "vendor-data": _vendor_data(seed),
    }
    if seed.network is not None:
        files["network-config"] = _yaml(_network_config(seed.network))
    return files


def _vendor_data(seed: Seed) -> bytes:
    settings = b"#cloud-config\n" + _yaml(_settings(seed))
    if not seed.password_reset:
        return settings
    parts = [
        {"type": "text/cloud-config", "content": settings.decode()},
        {"type": "text/cloud-boothook", "content": _reset_hook(seed)},
    ]
    text = yaml.safe_dump(parts, sort_keys=False, width=1 << 20)
    return b"#cloud-config-archive\n" + text.encode()


def _reset_hook(seed: Seed) -> str:
    """Return what sets root's password at the next boot, and at none after it.

    With another instance-id instead, cloud-init would set the whole machine up anew. A
    boothook runs at every boot of the same instance, `cloud-init-per once` holds it to
    one, and a hash has no character that a shell would touch in single quotes.
    """
    entry = shlex.quote(f"root:{seed.password_hash}")
    change = shlex.quote(f"printf '%s\\n' {entry} | chpasswd -e")
    return f"#!/bin/sh\ncloud-init-per once {seed.password_reset} sh -c {change}\n"


def _settings(seed: Seed) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "hostname": seed.hostname,
        "preserve_hostname": False,
        "manage_etc_hosts": True,
        # Customers log in as root, as they do at Linode.
        "disable_root": False,
        "ssh_pwauth": bool(seed.password_hash),
        "ssh_deletekeys": True,
    }
    if seed.password_hash:
        root = {"name": "root", "password": seed.password_hash, "type": "hash"}
        settings["chpasswd"] = {"expire": False, "users": [root]}
    return settings


def _network_config(network: NetworkSettings) -> dict[str, Any]:
    addresses = [f"{network.ipv4}/{network.prefix_length}"]
    if network.ipv6:
        addresses.append(f"{network.ipv6}/64")
    nic: dict[str, Any] = {
        "match": {"macaddress": network.mac},
        "set-name": "eth0",
        "addresses": addresses,
        "gateway4": network.gateway,
        # The router's word is the default route of IPv6; without ours, none is taken.
        "accept-ra": bool(network.ipv6),
    }
    if network.nameservers:
        nic["nameservers"] = {"addresses": list(network.nameservers)}
    return {"version": 2, "ethernets": {"nic0": nic}}


def _yaml(document: dict[str, Any]) -> bytes:
    # Never folded: readers simpler than cloud-init find one entry on one line.
    text = yaml.safe_dump(document, sort_keys=False, width=1 << 20)
    return text.encode()


def keys_in(files: dict[str, bytes]) -> tuple[str, ...]:
    """Return the authorized keys of a seed of ours. Raises ValueError if it is none.

    A host may give back another one than it was given. Texts and lists are all that is
    read, and nothing that names a part again and again grows.
    """
    text = files["meta-data"]
    if len(text) > _LARGEST_META_DATA:
        raise ValueError("meta-data: too long")
    try:
        # Without tags and merges; what it makes is lists, dicts and strings.
        keys = yaml.load(text, Loader=yaml.BaseLoader)["public-keys"]  # noqa: S506
    except (yaml.YAMLError, LookupError, TypeError, RecursionError) as error:
        raise ValueError("meta-data: no public-keys") from error
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("meta-data: public-keys is no list of texts")
    if sum(map(len, keys)) > len(text):
        raise ValueError("meta-data: a key is named again and again")
    return tuple(keys)


def digest_of(files: dict[str, bytes]) -> str:
    """Return the SHA-256 of a seed's files, by which two seeds can be compared."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def seed_image(files: dict[str, bytes]) -> bytes:
    """Return an ISO 9660 image of the files, with Rock Ridge and Joliet names."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=VOLUME_LABEL)
    for number, (name, content) in enumerate(files.items()):
        iso.add_fp(
            io.BytesIO(content),
            len(content),
            f"/FILE{number}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
        )
    image = io.BytesIO()
    iso.write_fp(image)
    iso.close()
    return image.getvalue()


def files_of(image: bytes) -> dict[str, bytes] | None:
    """Return the files of a seed_image(); None if it is none, or torn."""
    iso = pycdlib.PyCdlib()
    try:
        iso.open_fp(io.BytesIO(image))
    except _NOT_WHOLE:
        return None
    files = {}
    try:
        for child in iso.list_children(joliet_path="/"):
            if child.is_file():
                content = io.BytesIO()
                name = iso.full_path_from_dirrecord(child)
                iso.get_file_from_iso_fp(content, joliet_path=name)
                files[name.lstrip("/")] = content.getvalue()
    except _NOT_WHOLE:
        return None
    finally:
        iso.close()
    return files if {"meta-data", "user-data"} <= set(files) else None
