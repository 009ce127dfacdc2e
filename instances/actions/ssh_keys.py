"""Add and rename the SSH keys of a user."""

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from instances import limits
from instances.exceptions import InvalidRequest
from instances.limits import refuse_more
from instances.models import SSHKey

LABEL_TAKEN = "Label must be unique among your SSH keys"


@transaction.atomic
def add(user: User, label: str, public_key: str) -> SSHKey:
    """Store the key, as ssh_keys.canonical() wrote it. Raises InvalidRequest."""
    refuse_more(user, SSHKey.objects.filter(user=user), limits.SSH_KEYS, "SSH keys")
    return _saved(SSHKey(user=user, label=label, ssh_key=public_key))


def rename(key: SSHKey, label: str) -> SSHKey:
    """Give the key another label. Raises InvalidRequest."""
    key.label = label
    return _saved(key)


def _saved(key: SSHKey) -> SSHKey:
    try:
        with transaction.atomic():
            key.save()
    except IntegrityError:
        raise InvalidRequest([("label", LABEL_TAKEN)]) from None
    return key
