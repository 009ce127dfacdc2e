"""The seed: what a guest reads is what was asked for, whatever characters it holds."""

import io
from typing import Any

import pycdlib
import yaml
from hypothesis import given
from hypothesis import strategies as st
from passlib.hash import sha512_crypt

from instances.cloud_init import (
    NetworkSettings,
    Seed,
    digest_of,
    hash_password,
    hostname_of,
    seed_files,
    seed_image,
)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx someone@example"
NETWORK = NetworkSettings(
    "02:67:0a:00:00:05", "10.0.0.5", 24, "10.0.0.1", ("10.0.0.2",), "2001:db8::1"
)


def make(**fields: Any) -> Seed:
    return Seed(**{"instance_id": "i-1", "hostname": "web", **fields})


def load(content: bytes) -> Any:
    return yaml.safe_load(content)


def test_seed_says_who_the_guest_is_and_who_may_log_in() -> None:
    files = seed_files(
        make(authorized_keys=(KEY,), password_hash="$6$x", network=NETWORK)
    )

    assert load(files["meta-data"]) == {
        "instance-id": "i-1",
        "local-hostname": "web",
        "public-keys": [KEY],
    }
    vendor = load(files["vendor-data"])
    assert files["vendor-data"].startswith(b"#cloud-config\n")
    assert (vendor["hostname"], vendor["disable_root"]) == ("web", False)
    assert vendor["ssh_pwauth"] is True
    assert vendor["chpasswd"] == {
        "expire": False,
        "users": [{"name": "root", "password": "$6$x", "type": "hash"}],
    }
    nic = load(files["network-config"])["ethernets"]["nic0"]
    assert nic["match"] == {"macaddress": "02:67:0a:00:00:05"}
    assert nic["addresses"] == ["10.0.0.5/24", "2001:db8::1/64"]
    assert (nic["gateway4"], nic["accept-ra"]) == ("10.0.0.1", True)
    assert nic["nameservers"] == {"addresses": ["10.0.0.2"]}


def test_guest_without_password_or_network_gets_neither() -> None:
    files = seed_files(make(authorized_keys=(KEY,)))

    assert "network-config" not in files
    assert "chpasswd" not in load(files["vendor-data"])
    assert load(files["vendor-data"])["ssh_pwauth"] is False


def test_image_holds_the_files_under_their_own_names() -> None:
    files = seed_files(make(user_data=b"#!/bin/sh\necho hi\n", network=NETWORK))
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(seed_image(files)))

    assert iso.pvd.volume_identifier.strip() == b"cidata"
    for name, content in files.items():
        for where in ({"rr_path": f"/{name}"}, {"joliet_path": f"/{name}"}):
            found = io.BytesIO()
            iso.get_file_from_iso_fp(found, **where)
            assert found.getvalue() == content
    iso.close()


@given(
    st.text(max_size=80),
    st.lists(st.text(max_size=200), max_size=4),
    st.text(max_size=120),
)
def test_no_text_changes_the_structure_of_a_document(
    hostname: str, keys: list[str], password_hash: str
) -> None:
    files = seed_files(
        make(
            hostname=hostname, authorized_keys=tuple(keys), password_hash=password_hash
        )
    )

    meta = load(files["meta-data"])
    vendor = load(files["vendor-data"])
    assert meta == {
        "instance-id": "i-1",
        "local-hostname": hostname,
        "public-keys": keys,
    }
    assert vendor["hostname"] == hostname
    if password_hash:
        assert vendor["chpasswd"]["users"][0]["password"] == password_hash


@given(st.binary(max_size=2000))
def test_user_data_is_handed_on_byte_for_byte(user_data: bytes) -> None:
    assert seed_files(make(user_data=user_data))["user-data"] == user_data


@given(st.text())
def test_every_label_gives_a_host_name(label: str) -> None:
    name = hostname_of(label)

    assert 1 <= len(name) <= 63
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not name.startswith("-")
    assert not name.endswith("-")


def test_password_is_kept_as_a_salted_hash_only() -> None:
    first, second = hash_password("Geheim-1"), hash_password("Geheim-1")

    assert first != second
    assert first.startswith("$6$")
    assert sha512_crypt.verify("Geheim-1", first)
    assert not sha512_crypt.verify("Geheim-2", first)
    assert "Geheim" not in repr(make(password_hash=first)) + first
    assert first not in repr(make(password_hash=first))


def test_digest_tells_seeds_apart_and_names_no_secret() -> None:
    one = seed_files(make(password_hash="$6$secret"))
    other = seed_files(make(password_hash="$6$secret", instance_id="i-2"))

    assert digest_of(one) == digest_of(dict(reversed(one.items())))
    assert digest_of(one) != digest_of(other)
    assert len(digest_of(one)) == 64
