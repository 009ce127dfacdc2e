"""The profile with its keys and tokens as plain dicts: API.md's tables, field by field."""

from django.contrib.auth.models import User

from instances.api import wire
from instances.api.shapes import profile as shapes
from instances.models import ApiToken, SSHKey


def profile_json(user: User) -> shapes.Profile:
    return {
        "uid": user.pk,
        "username": user.get_username(),
        "email": user.email,
        "timezone": "UTC",
        "email_notifications": False,
        "ip_whitelist_enabled": False,
        "lish_auth_method": "disabled",
        "authorized_keys": None,
        "authentication_type": "password",
        "two_factor_auth": False,
        "tfa_enforced": False,
        "restricted": False,
        "verified_phone_number": None,
        "referrals": {
            "code": "",
            "url": "",
            "total": 0,
            "completed": 0,
            "pending": 0,
            "credit": 0,
        },
    }


def ssh_key_json(key: SSHKey) -> shapes.SSHKey:
    return {
        "id": key.pk,
        "label": key.label,
        "ssh_key": key.ssh_key,
        "created": wire.time_of(key.created_at),
    }


def token_json(token: ApiToken, secret: str | None = None) -> shapes.Token:
    """secret: only in the answer that makes the token; nobody can show it again."""
    return {
        "id": token.pk,
        "label": token.label,
        "scopes": token.scopes,
        "created": wire.time_of(token.created_at),
        "expiry": wire.time_of(token.expires_at) if token.expires_at else None,
        "token": secret or token.prefix,
    }


def token_use_json(token: ApiToken) -> shapes.TokenUse:
    used = token.last_used_at
    return {
        "id": token.pk,
        "label": token.label,
        "last_used": wire.time_of(used) if used else None,
    }
