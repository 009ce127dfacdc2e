"""Read OpenSSH public keys and write them in one form; pure."""

import base64
import binascii
import warnings

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

SMALLEST_RSA_BITS = 2048
_LONGEST = 16 * 1024
KEY_TYPES = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)


class UnfitKey(ValueError):
    """The text is no public key that may be used; str() says why, to the customer."""


def canonical(text: str) -> str:
    """Return the key as `type base64 comment`, one space between each.

    Raises UnfitKey; also for options before the key, a certificate, a second line.
    """
    line = text.strip(" \t\r\n")
    # A second line would be a second key that nobody sees.
    if not line.isprintable() or len(line) > _LONGEST:
        raise UnfitKey("must be one line of printable characters")
    kind, encoded, comment = (*line.split(None, 2), "", "", "")[:3]
    if kind not in KEY_TYPES:
        raise UnfitKey("must begin with a key type, such as ssh-ed25519 or ssh-rsa")
    try:
        blob = base64.b64decode(encoded, validate=True)
        with warnings.catch_warnings(action="ignore"):
            key = load_ssh_public_key(f"{kind} {encoded}".encode())
    except (ValueError, binascii.Error, UnsupportedAlgorithm) as error:
        raise UnfitKey("is not a public key in OpenSSH's one-line form") from error
    if isinstance(key, RSAPublicKey) and key.key_size < SMALLEST_RSA_BITS:
        raise UnfitKey(f"is RSA of less than {SMALLEST_RSA_BITS} bits")
    # Not key.public_bytes(): of a security key's (sk-...) it would leave the key alone.
    return " ".join(filter(None, (kind, base64.b64encode(blob).decode(), comment)))
