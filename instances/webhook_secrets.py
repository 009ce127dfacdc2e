"""Secrets of webhooks: made, sealed for the database, and used to sign.

They are needed in clear to sign with, so they cannot be digests as tokens are. What is
signed and how is that of Standard Webhooks 1.0 (standardwebhooks.com, "Signature scheme"),
so that customers check it with its libraries.
"""

import base64
import hashlib
import hmac
import secrets

from instances.sealing import resealed, seal, unseal

_PREFIX = "whsec_"
_BYTES = 32
_PURPOSE = "webhook secrets"


def new_secret() -> str:
    """Return 256 random bits in the form of Standard Webhooks."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def sealed(secret: str) -> str:
    return seal(secret.encode(), _PURPOSE).decode()


def opened(sealed_secret: str) -> str:
    """Return the secret. Raises SecretLost."""
    return unseal(sealed_secret.encode(), _PURPOSE).decode()


def resealed_secret(sealed_secret: str) -> str:
    """Return it under the SECRET_KEY of now. Raises SecretLost."""
    return resealed(sealed_secret.encode(), _PURPOSE).decode()


def signature(secret: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    """Return HMAC-SHA256 over id, timestamp (seconds since 1970) and body, with dots."""
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
