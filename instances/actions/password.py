"""Reset an instance's root password: written into its seed, taken at its next boot."""

from django.db import transaction

from instances import lifecycle
from instances.actions.guest_settings import GuestSettings, keep
from instances.actions.power import begin
from instances.choices import JobKind
from instances.exceptions import InvalidRequest
from instances.models import Instance, Job
from instances.status import Status, status_of

MUST_BE_OFF = "Linode must be powered off to reset its password."


def reset_password(
    instance: Instance, password_hash: str, actor: str, username: str
) -> Job:
    """Have the password changed; keys, host keys and files stay as they are.

    password_hash: by cloud_init.hash_password(). Raises InvalidRequest or InstanceBusy.
    """
    with transaction.atomic():
        locked = lifecycle.locked_at_rest(instance.pk)
        if not locked.image.reads_seeds:
            reason = f"{locked.image.label} has no password that could be reset"
            raise InvalidRequest([("root_pass", reason)])
        if status_of(locked) is not Status.OFFLINE:
            raise InvalidRequest([(None, MUST_BE_OFF)])
        # Its keys and user data are read from the seed that it has.
        keep(GuestSettings(password_hash=password_hash), locked)
        return begin(JobKind.PASSWORD, locked, None, actor, username)
