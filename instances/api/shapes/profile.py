"""The profile with its keys and tokens: API.md's tables, field by field."""

from typing import Annotated, TypedDict

from instances.api.shapes.common import Moment
from instances.api.shapes.doc import Doc

_SCOPES = "CATEGORY:read_only, CATEGORY:read_write or *; several separated by spaces."
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJk0...= carol@laptop"


class Referrals(TypedDict):
    """There is no referral programme."""

    code: str
    url: str
    total: int
    completed: int
    pending: int
    credit: float


class Profile(TypedDict):
    uid: Annotated[int, Doc("The user's number.", 7)]
    username: Annotated[str, Doc("Events show it.", "carol")]
    email: Annotated[str, Doc("Of the user, not of the account.", "c@example.net")]
    timezone: Annotated[str, Doc("All times are UTC.", "UTC")]
    email_notifications: bool
    ip_whitelist_enabled: bool
    lish_auth_method: Annotated[str, Doc("There is no Lish.", "disabled")]
    authorized_keys: list[str] | None
    authentication_type: Annotated[str, Doc("Linode's word.", "password")]
    two_factor_auth: bool
    tfa_enforced: bool
    restricted: Annotated[bool, Doc("No user is; tokens are, by scopes.", False)]
    verified_phone_number: str | None
    referrals: Referrals


class ProfileUpdate(TypedDict, total=False):
    """What else a profile has may be sent as it is, and is then left alone."""

    email: Annotated[str, Doc("Of the user, not of the account.", "c@example.net")]


class SSHKey(TypedDict):
    id: Annotated[int, Doc("Yours alone.", 42)]
    label: Annotated[str, Doc("Unique among your keys.", "laptop")]
    ssh_key: Annotated[str, Doc("As it was read, not as it was sent.", _KEY)]
    created: Moment


class SSHKeyCreate(TypedDict):
    label: Annotated[str, Doc("1 to 64 characters.", "laptop")]
    ssh_key: Annotated[
        str, Doc("One line of OpenSSH's: Ed25519, ECDSA, RSA from 2048 bits.", _KEY)
    ]


class SSHKeyUpdate(TypedDict, total=False):
    label: Annotated[str, Doc("1 to 64 characters.", "laptop")]


class Token(TypedDict):
    id: Annotated[int, Doc("To view or revoke it.", 5)]
    label: Annotated[str, Doc("What it is for.", "backup script")]
    scopes: Annotated[str, Doc(_SCOPES, "events:read_only linodes:read_write")]
    created: Moment
    expiry: Annotated[Moment | None, Doc("Invalid from then on; null: never.")]
    token: Annotated[str, Doc("All of it once, when made; then its beginning.")]


class TokenCreate(TypedDict, total=False):
    label: Annotated[str, Doc("1 to 100 characters.", "backup script")]
    scopes: Annotated[
        str,
        Doc(
            f"{_SCOPES} None that the token used lacks; absent: all of its own.",
            "linodes:read_only",
        ),
    ]
    expiry: Annotated[Moment | None, Doc("In the future; null or absent: never.")]


class TokenUpdate(TypedDict, total=False):
    label: Annotated[str, Doc("1 to 100 characters.", "backup script")]


class TokenUse(TypedDict):
    """What Linode's own token object has no room for."""

    id: Annotated[int, Doc("Of /profile/tokens.", 5)]
    label: Annotated[str, Doc("What it is for.", "backup script")]
    last_used: Annotated[Moment | None, Doc("To the minute; null: never.")]
