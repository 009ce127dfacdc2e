"""OpenSSH public keys: what is read, in which form it is kept, what is refused."""

import base64
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from instances.ssh_keys import UnfitKey, canonical


def line_of(private_key: object) -> str:
    public = private_key.public_key()  # type: ignore[attr-defined]
    return str(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())


ED25519 = line_of(ed25519.Ed25519PrivateKey.generate())

WEAK_RSA = line_of(rsa.generate_private_key(65537, 1024))  # noqa: S505 -- refused
DSA = line_of(dsa.generate_private_key(1024))  # noqa: S505 -- refused


def security_key_line() -> str:
    """Return a sk-ssh-ed25519 key: OpenSSH PROTOCOL.u2f, "SSH U2F Key Types"."""
    fields = (
        b"sk-ssh-ed25519@openssh.com",
        ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw(),
        b"ssh:",
    )
    blob = b"".join(struct.pack(">I", len(field)) + field for field in fields)
    return f"sk-ssh-ed25519@openssh.com {base64.b64encode(blob).decode()}"


@pytest.mark.parametrize(
    "line",
    [
        ED25519,
        line_of(rsa.generate_private_key(65537, 2048)),
        line_of(ec.generate_private_key(ec.SECP256R1())),
        line_of(ec.generate_private_key(ec.SECP384R1())),
        line_of(ec.generate_private_key(ec.SECP521R1())),
        security_key_line(),
    ],
)
def test_a_key_is_kept_with_its_comment(line: str) -> None:
    assert canonical(line) == line
    assert canonical(f"  {line}   carol's  laptop \r\n") == f"{line} carol's  laptop"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must begin with a key type, such as ssh-ed25519 or ssh-rsa"),
        ("ssh-ed25519", "is not a public key in OpenSSH's one-line form"),
        ("ssh-ed25519 AAAA", "is not a public key in OpenSSH's one-line form"),
        (ED25519[:-8], "is not a public key in OpenSSH's one-line form"),
        (ED25519 + "AAAA", "is not a public key in OpenSSH's one-line form"),
        (
            ED25519.replace("ssh-ed25519", "ssh-rsa"),
            "is not a public key in OpenSSH's one-line form",
        ),
        (f"{ED25519}\n{ED25519}", "must be one line of printable characters"),
        (f"{ED25519} a\x1bb", "must be one line of printable characters"),
        (f"{ED25519} {'x' * 16384}", "must be one line of printable characters"),
        (
            f'command="rm" {ED25519}',
            "must begin with a key type, such as ssh-ed25519 or ssh-rsa",
        ),
        (
            WEAK_RSA,
            "is RSA of less than 2048 bits",
        ),
        (
            DSA,
            "must begin with a key type, such as ssh-ed25519 or ssh-rsa",
        ),
    ],
)
def test_what_is_no_fit_key_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UnfitKey) as refused:
        canonical(text)
    assert str(refused.value) == reason
