"""User data in the database, sealed: it often holds passwords and tokens of customers."""

from instances.sealing import resealed, seal, unseal

_PURPOSE = "user data"
# What stands there without it was written by a release before this one.
_MARK = b"sealed:"


def sealed_user_data(user_data: bytes) -> bytes:
    """Return what SeedSettings keeps; of none, nothing."""
    return _MARK + seal(user_data, _PURPOSE) if user_data else b""


def opened_user_data(kept: bytes) -> bytes:
    """Return what the guest is to have. Raises SecretLost."""
    if not kept.startswith(_MARK):
        return kept
    return unseal(kept.removeprefix(_MARK), _PURPOSE)


def resealed_user_data(kept: bytes) -> bytes:
    """Return what is to be kept under the SECRET_KEY of now. Raises SecretLost."""
    if not kept.startswith(_MARK):
        return sealed_user_data(kept)
    return _MARK + resealed(kept.removeprefix(_MARK), _PURPOSE)
