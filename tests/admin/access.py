"""Staff who log in as people do: by forms, with passwords and the codes of an app."""

import re
import time
from typing import Any

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client

from gpucloud_site.access.factors import factors_of

PASSWORD = "correct horse battery"
LOGIN = "/admin/login/"
CODE = "/admin/login/code/"
FACTOR = "/admin/second-factor/"


def make_staff(username: str = "ann", **fields: Any) -> User:
    """Make a superuser of staff with PASSWORD."""
    return User.objects.create_user(
        username,
        password=PASSWORD,
        **{"is_staff": True, "is_superuser": True, **fields},
    )


def send_password(
    client: Client, username: str = "ann", password: str = PASSWORD, **options: Any
) -> Any:
    return client.post(LOGIN, {"username": username, "password": password}, **options)


def logged_in(user: User) -> Client:
    """Give a browser whose person gave the password, and has no second factor."""
    client = Client()
    assert send_password(client, user.username).status_code == 302
    return client


def app_code(secret: str) -> str:
    """Return what an authenticator app with this key shows now."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30))


def set_up_factor(client: Client) -> tuple[str, list[str]]:
    """Set a second factor up by its page; return its secret and the recovery codes."""
    page = client.get(FACTOR).text
    (sealed,) = re.findall(r'name="sealed" value="([^"]+)"', page)
    (shown,) = re.findall(r'id="totp-key">([^<]+)<', page)
    secret = shown.replace(" ", "")
    done = client.post(FACTOR, {"sealed": sealed, "code": app_code(secret)})
    codes = re.findall(r"<li><code>(\d{8})</code>", done.text)
    return secret, codes


def forget_used_codes(user: User) -> None:
    """Have the app's code of now be good once more, which else costs 30 s of waiting."""
    cache.clear()
    for factor in factors_of(user):
        factor.data.pop("used", None)
        factor.save(update_fields=["data"])
