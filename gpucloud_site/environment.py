"""Typed readers of the process environment; a missing or bad value names itself."""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

_env = environ.Env()


def required(name: str, hint: str) -> str:
    """Return the value of `name`.

    Raises ImproperlyConfigured, with the name and what to set, if it is absent or empty.
    """
    value = _env.str(name, default="")
    if not value:
        raise ImproperlyConfigured(f"{name} is not set. Set it to {hint}.")
    return str(value)


def text(name: str, *, default: str) -> str:
    """Return the value of `name`; the default if it is absent or empty."""
    return str(_env.str(name, default="") or default)


def secret(name: str, *, minimum: int) -> str:
    """Return the value of `name`, empty if it is absent; else of at least `minimum` signs."""
    value = text(name, default="")
    if value and len(value) < minimum:
        raise ImproperlyConfigured(
            f"{name} is too short. Set it to {minimum} or more random characters."
        )
    return value


def networks(name: str, *, default: str) -> list[IPv4Network | IPv6Network]:
    """Return the comma-separated networks of `name`, such as 10.0.0.0/8; "none" is none."""
    value = text(name, default=default)
    words = [] if value == "none" else value.split(",")
    try:
        return [ip_network(word.strip()) for word in words]
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{name} is not valid: {error}. Set it to networks, such as {default}, or none."
        ) from error


def lab_text(name: str, what: str, *, is_lab: bool) -> str:
    """Return the value of `name`, empty if it is absent; a lab alone may have one.

    what: it is done in a lab alone. Raises ImproperlyConfigured where there is none.
    """
    value = text(name, default="")
    if value and not is_lab:
        raise ImproperlyConfigured(
            f"{name} is set, but {what} in a lab alone. Unset it, or set "
            "GPUCLOUD_LAB=true on a test installation."
        )
    return value


def _typed(name: str, cast: Callable[..., Any], default: Any, hint: str) -> Any:
    try:
        return cast(name, default=default)
    except (ValueError, ImproperlyConfigured) as error:
        raise ImproperlyConfigured(f"{name} is not valid. Set it to {hint}.") from error


_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}


def boolean(name: str, *, default: bool) -> bool:
    """Return `name` as a flag; unlike django-environ, a word it does not know is an error.

    django-environ reads every unknown word as False, so a typo would switch off HTTPS.
    """
    word = str(_env.str(name, default=str(default))).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ImproperlyConfigured(f"{name} is {word!r}. Set it to true or false.")


def whole_number(name: str, *, default: int, minimum: int = 0) -> int:
    """Return `name` as an integer of at least `minimum`."""
    number = int(_typed(name, _env.int, default, f"a whole number, such as {default}"))
    if number < minimum:
        raise ImproperlyConfigured(
            f"{name} is {number}. Set it to a whole number of at least {minimum}."
        )
    return number


def one_of(name: str, choices: tuple[str, ...]) -> str:
    """Return `name`, which is one of `choices`; the first is the default."""
    word = str(_env.str(name, default=choices[0])).strip().lower()
    if word not in choices:
        raise ImproperlyConfigured(
            f"{name} is {word!r}. Set it to {' or '.join(choices)}."
        )
    return word


def list_of(name: str) -> list[str]:
    """Return the comma-separated words of `name`; none if it is absent."""
    return [word.strip() for word in text(name, default="").split(",") if word.strip()]


def words(name: str, hint: str) -> list[str]:
    """Return the comma-separated words of `name`, at least one."""
    required(name, hint)
    found = list_of(name)
    if not found:
        raise ImproperlyConfigured(f"{name} is empty. Set it to {hint}.")
    return found


def listed(name: str) -> list[str]:
    """Return the comma-separated words of `name`; none if it is absent."""
    return [word.strip() for word in text(name, default="").split(",") if word.strip()]


def mail_server(name: str) -> dict[str, Any]:
    """Return Django's EMAIL settings for the URL in `name`; empty if it is absent."""
    url = text(name, default="")
    if not url:
        return {}
    hint = "smtp+tls://USER:PASSWORD@HOST:587, or smtp:// or smtp+ssl://"
    if urlsplit(url).scheme not in {"smtp", "smtp+tls", "smtp+ssl"}:
        raise ImproperlyConfigured(f"{name} is no mail server. Set it to {hint}.")
    found = dict(_typed(name, _env.email_url, environ.Env.NOTSET, hint))
    if not found["EMAIL_HOST"]:
        raise ImproperlyConfigured(f"{name} names no host. Set it to {hint}.")
    return found


def postgresql(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return Django's settings of a kept connection to the PostgreSQL URL in `name`.

    options: libpq's; those in the URL, such as ?sslmode=verify-full, come before them.
    """
    hint = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    url = required(name, hint)
    if urlsplit(url).scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(
            f"{name} is no PostgreSQL address. Set it to {hint}; gpucloud's rules are "
            "PostgreSQL constraints and run on no other database."
        )
    found = dict(_typed(name, _env.db_url, environ.Env.NOTSET, hint))
    return {
        **found,
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options | found.get("OPTIONS", {}),
    }
