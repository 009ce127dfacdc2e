"""The environment of Django in the local stack, stable from one run to the next."""

from __future__ import annotations

import os
import secrets
import shlex
import string
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from deploy.local.databases import database_name
from deploy.local.layout import Layout, checkout
from deploy.local.postgres import Cluster, recorded
from deploy.local.private_file import (
    read_json_object,
    write_private,
    write_private_json,
)

TOKEN_OWNERS = ("employee", "customer", "customer2", "no_gpu")
STAFF_NAME = "admin"
LETTERS_AND_DIGITS = string.ascii_letters + string.digits


def generated_secrets(layout: Layout) -> dict[str, Any]:
    """Return the secrets of this checkout, made once.

    Returns: secret_key; staff with username and password; tokens by owner.
    """
    found = read_json_object(layout.secrets)
    if not found:
        found = new_secrets()
        write_private_json(layout.secrets, found)
    return found


def new_secrets() -> dict[str, Any]:
    """Make fresh secrets, of the form that `generated_secrets` returns."""
    return {
        "secret_key": secrets.token_urlsafe(48),
        "staff": {"username": STAFF_NAME, "password": new_password()},
        "tokens": {owner: secrets.token_hex(32) for owner in TOKEN_OWNERS},
    }


def new_password() -> str:
    """Return a password of letters and digits: a double click selects all of it."""
    return "".join(secrets.choice(LETTERS_AND_DIGITS) for _ in range(16))


def django_environment(database_url: str, secret_key: str) -> dict[str, str]:
    """Return the variables that the settings of a lab on the loopback address need."""
    return {
        "DJANGO_SETTINGS_MODULE": "gpucloud_site.settings",
        "DATABASE_URL": database_url,
        "GPUCLOUD_SECRET_KEY": secret_key,
        "GPUCLOUD_ALLOWED_HOSTS": "127.0.0.1,localhost",
        "GPUCLOUD_HTTPS": "false",
        "GPUCLOUD_LAB": "true",
        "GPUCLOUD_IMAGE_FOLDER": str(checkout().local / "images"),
        "GPUCLOUD_SIMULATED_HOSTS": str(checkout().local / "simulated-hosts"),
    }


def with_inherited(env: Mapping[str, str]) -> dict[str, str]:
    """Return this process's variables with the given ones over them."""
    return {**os.environ, **env}


def own_database_url() -> str | None:
    """Return DATABASE_URL of the caller's environment, if it is set."""
    return os.environ.get("DATABASE_URL") or None


def is_private_cluster(url: str, cluster: Cluster | None) -> bool:
    """Say whether the URL is of our own cluster, its port aside: that may change.

    Whoever sourced .local/env.sh has it in the environment, and means no other server.
    """
    return cluster is not None and urlsplit(url).password == cluster.password


def external_database_url(layout: Layout) -> str | None:
    """Return the DATABASE_URL that replaces the private cluster; None if none does."""
    url = own_database_url()
    if url is None or is_private_cluster(url, recorded(layout)):
        return None
    return url


def private_database_url(cluster: Cluster) -> str:
    """Return the private cluster's URL; its database may be named by DATABASE_URL."""
    url = own_database_url()
    if url is not None and is_private_cluster(url, cluster):
        return cluster.url(database_name(url))
    return cluster.url()


def write_environment(layout: Layout, env: Mapping[str, str]) -> None:
    """Write env.json for programs and env.sh to be sourced by a person."""
    if read_json_object(layout.env_json) == dict(env) and layout.env_sh.exists():
        return
    write_private_json(layout.env_json, dict(env))
    lines = [f"export {name}={shlex.quote(value)}" for name, value in env.items()]
    write_private(layout.env_sh, "\n".join(lines) + "\n")
