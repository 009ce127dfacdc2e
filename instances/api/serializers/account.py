"""Events and the profile as plain dicts: API.md's tables, field by field."""

from typing import Any

from django.contrib.auth.models import AbstractBaseUser

from instances.api import wire
from instances.models import Event


def event_json(event: Event) -> dict[str, Any]:
    return {
        "id": event.pk,
        "action": event.action,
        "status": event.status,
        "percent_complete": event.percent_complete,
        "created": wire.time_of(event.created_at),
        "duration": wire.seconds_between(event.started_at, event.finished_at),
        "entity": {
            "id": event.entity_id,
            "label": event.entity_label,
            "type": "linode",
            "url": wire.link_to_instance(event.entity_id),
        },
        "secondary_entity": None,
        "message": event.message or None,
        "username": event.username,
        "seen": event.seen,
        "read": event.seen,
        "rate": None,
        "time_remaining": None,
    }


def profile_json(user: AbstractBaseUser) -> dict[str, Any]:
    return {
        "uid": user.pk,
        "username": user.get_username(),
        "email": getattr(user, "email", ""),
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
