"""Secrets that must be kept and used again, encrypted with a key made of SECRET_KEY.

No copy of the database holds that key. A new one takes over while the old one stands in
SECRET_KEY_FALLBACKS.
"""

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.utils.encoding import force_bytes

_KEY_BYTES = 32


class SecretLost(Exception):
    """It was sealed under a SECRET_KEY that is no longer known."""


def seal(secret: bytes, purpose: str) -> bytes:
    """Return what can be kept. purpose: each has a key of its own."""
    return _box(purpose).encrypt(secret)


def unseal(sealed: bytes, purpose: str) -> bytes:
    """Return the secret. Raises SecretLost."""
    try:
        return _box(purpose).decrypt(sealed)
    except InvalidToken as error:
        raise SecretLost from error


def resealed(sealed: bytes, purpose: str) -> bytes:
    """Return it under the SECRET_KEY of now; as it is, if it is so. Raises SecretLost."""
    try:
        Fernet(_key_of(settings.SECRET_KEY, purpose)).decrypt(sealed)
    except InvalidToken:
        return seal(unseal(sealed, purpose), purpose)
    return sealed


def _box(purpose: str) -> MultiFernet:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return MultiFernet([Fernet(_key_of(key, purpose)) for key in keys])


def _key_of(secret_key: str | bytes, purpose: str) -> bytes:
    info = f"gpucloud {purpose}".encode()
    derived = HKDF(SHA256(), _KEY_BYTES, salt=None, info=info)
    return base64.urlsafe_b64encode(derived.derive(force_bytes(secret_key)))
