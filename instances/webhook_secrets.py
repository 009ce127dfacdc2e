"""Secrets of webhooks: made, sealed for the database, and used to sign.

They are needed in clear to sign with, so they cannot be digests as tokens are: they are
encrypted with a key made of SECRET_KEY, which no copy of the database holds. What is
signed and how is that of Standard Webhooks 1.0 (standardwebhooks.com, "Signature scheme"),
so that customers check it with its libraries.
"""

import base64
import hashlib
import hmac
import secrets

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.utils.encoding import force_bytes

_PREFIX = "whsec_"
_BYTES = 32


class SecretLost(Exception):
    """It was sealed under a SECRET_KEY that is no longer known."""


def new_secret() -> str:
    """Return 256 random bits in the form of Standard Webhooks."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def sealed(secret: str) -> str:
    return _box().encrypt(secret.encode()).decode()


def opened(sealed_secret: str) -> str:
    """Return the secret. Raises SecretLost."""
    try:
        return _box().decrypt(sealed_secret.encode()).decode()
    except InvalidToken as error:
        raise SecretLost from error


def signature(secret: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    """Return HMAC-SHA256 over id, timestamp (seconds since 1970) and body, with dots."""
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _box() -> MultiFernet:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return MultiFernet([Fernet(_key_of(key)) for key in keys])


def _key_of(secret_key: str | bytes) -> bytes:
    derived = HKDF(SHA256(), _BYTES, salt=None, info=b"gpucloud webhook secrets")
    return base64.urlsafe_b64encode(derived.derive(force_bytes(secret_key)))
