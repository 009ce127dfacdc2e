"""What a guest is set up with at its first boot: check it, and keep it until then."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db.models import QuerySet, Sum
from django.db.models.functions import Length

from instances.models import Account, Image, Instance, Plan, SeedSettings, SSHKey
from instances.sealed_user_data import sealed_user_data
from instances.ssh_keys import UnfitKey, canonical

# Linode API v4, "Create a Linode": metadata.user_data.
MAX_USER_DATA_BYTES = 65535
# What every worker and host has to carry for one guest.
MAX_KEYS_CHARACTERS = 256 * 1024
Problem = tuple[str | None, str]


@dataclass(frozen=True, slots=True)
class GuestSettings:
    """Unchecked. users: usernames whose SSH keys may log in, besides `keys`.

    password_hash: of root, by cloud_init.hash_password(): no password comes this far.
    """

    keys: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    password_hash: str = field(default="", repr=False)
    user_data: bytes = field(default=b"", repr=False)

    @property
    def identity(self) -> list[str]:
        """Say what tells two requests apart; the hash is another one at each of them."""
        data = [hashlib.sha256(self.user_data).hexdigest()] if self.user_data else []
        return [*self.keys, *self.users, *data]


def problems_of(
    settings: GuestSettings, account: Account, image: Image | None
) -> list[Problem]:
    """Return all that is wrong, as (field, reason). Two queries at most."""
    return [
        *_user_data_problems(settings, image),
        *_key_problems(settings),
        *_user_problems(settings, account),
    ]


def disk_problems(plan: Plan | None, image: Image | None) -> list[Problem]:
    """Say whether the image fits on the plan's disk."""
    if plan is None or image is None or not image.is_disk:
        return []
    if image.size_mib <= plan.disk_mib:
        return []
    reason = (
        f"{image.label} needs {image.size_mib} MB of disk; "
        f"{plan.slug} has {plan.disk_mib} MB"
    )
    return [("image", reason)]


def _user_data_problems(
    settings: GuestSettings, image: Image | None
) -> Iterator[Problem]:
    name = "metadata.user_data"
    if settings.user_data and image is not None and not image.reads_seeds:
        yield name, f"{image.label} does not read user data"
    if len(settings.user_data) > MAX_USER_DATA_BYTES:
        yield name, f"User data must be at most {MAX_USER_DATA_BYTES} bytes"


def _key_problems(settings: GuestSettings) -> Iterator[Problem]:
    for number, line in enumerate(settings.keys, start=1):
        try:
            canonical(line)
        except UnfitKey as error:
            yield "authorized_keys", f"SSH key {number} {error}"


def _user_problems(settings: GuestSettings, account: Account) -> Iterator[Problem]:
    if not settings.users:
        return
    members = account.members.filter(username__in=settings.users)
    known = set(members.values_list("username", flat=True))
    for username in settings.users:
        if username not in known:
            yield "authorized_users", f"{username[:50]} is no user of this account"
    size = _keys_of(settings, account).aggregate(size=Sum(Length("ssh_key")))["size"]
    if (size or 0) > MAX_KEYS_CHARACTERS:
        reason = (
            f"Their SSH keys have {size} characters; at most {MAX_KEYS_CHARACTERS} fit"
        )
        yield "authorized_users", reason


def _keys_of(settings: GuestSettings, account: Account) -> QuerySet[SSHKey]:
    return SSHKey.objects.filter(
        user__username__in=settings.users, user__accounts=account
    )


def keep(settings: GuestSettings, instance: Instance) -> None:
    """Keep checked settings for the guest's seed; the row goes once the guest runs."""
    users = _keys_of(settings, instance.account)
    of_users = users.order_by("pk").values_list("ssh_key", flat=True)
    keys = [*map(canonical, settings.keys), *of_users]
    SeedSettings.objects.create(
        instance=instance,
        authorized_keys=list(dict.fromkeys(keys)),
        password_hash=settings.password_hash,
        user_data=sealed_user_data(settings.user_data),
    )
