"""A missing or bad setting stops the start with one line that names it and the remedy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpucloud_site.environment import postgresql

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "DATABASE_URL": "postgresql://nobody:secret@127.0.0.1:1/none",
    "GPUCLOUD_SECRET_KEY": "k" * 60,
    "GPUCLOUD_ALLOWED_HOSTS": "localhost",
    "GPUCLOUD_HTTPS": "false",
    "PATH": os.environ["PATH"],
}


def manage(*arguments: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in {**GOOD, **changes}.items() if v is not None}
    return subprocess.run(  # noqa: S603 -- our own command
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"GPUCLOUD_SECRET_KEY": None},
            "gpucloud: setting: GPUCLOUD_SECRET_KEY is not set. "
            "Set it to 50 or more random characters, kept secret.",
        ),
        (
            {"DATABASE_URL": ""},
            "gpucloud: setting: DATABASE_URL is not set. "
            "Set it to postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
        ),
        (
            {"DATABASE_URL": "sqlite:///x"},
            "gpucloud: setting: DATABASE_URL is no PostgreSQL address. Set it to "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE; gpucloud's rules are "
            "PostgreSQL constraints and run on no other database.",
        ),
        (
            {"GPUCLOUD_ALLOWED_HOSTS": " , "},
            "gpucloud: setting: GPUCLOUD_ALLOWED_HOSTS is empty. "
            "Set it to the site's host names, separated by commas.",
        ),
        (
            {"GPUCLOUD_MAIL_URL": "mail.example.net"},
            "gpucloud: setting: GPUCLOUD_MAIL_URL is no mail server. Set it to "
            "smtp+tls://USER:PASSWORD@HOST:587, or smtp:// or smtp+ssl://.",
        ),
        (
            {"GPUCLOUD_PLAIN_PLANS_ON_GPU_HOSTS": "rarely"},
            "gpucloud: setting: GPUCLOUD_PLAIN_PLANS_ON_GPU_HOSTS is 'rarely'. "
            "Set it to last or never.",
        ),
        (
            {"GPUCLOUD_HTTPS": "ture"},
            "gpucloud: setting: GPUCLOUD_HTTPS is 'ture'. Set it to true or false.",
        ),
        (
            {"GPUCLOUD_WORKERS": "many"},
            "gpucloud: setting: GPUCLOUD_WORKERS is not valid. "
            "Set it to a whole number, such as 4.",
        ),
        (
            {"GPUCLOUD_SIMULATED_HOSTS": "/tmp/hosts"},  # noqa: S108
            "gpucloud: setting: GPUCLOUD_SIMULATED_HOSTS is set, but hosts are simulated "
            "in a lab alone. Unset it, or set GPUCLOUD_LAB=true on a test installation.",
        ),
        (
            {"GPUCLOUD_WORKERS": "0"},
            "gpucloud: setting: GPUCLOUD_WORKERS is 0. "
            "Set it to a whole number of at least 1.",
        ),
    ],
)
def test_bad_setting_is_named_in_one_line(
    changes: dict[str, str | None], line: str
) -> None:
    result = manage("check", **changes)

    assert result.returncode == 1
    assert result.stderr.strip() == line


def test_options_of_a_database_url_are_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://u:p@db:5432/gpucloud?sslmode=verify-full&application_name=mine"
    monkeypatch.setenv("GPUCLOUD_REPLICA_URL", url)
    ours = {"application_name": "gpucloud", "connect_timeout": 5}
    found = postgresql("GPUCLOUD_REPLICA_URL", ours)["OPTIONS"]
    assert found == {
        "sslmode": "verify-full",
        "application_name": "mine",
        "connect_timeout": 5,
    }


def test_database_that_is_down_is_said_in_two_lines() -> None:
    result = manage("migrate")

    assert result.returncode == 1
    lines = result.stderr.strip().splitlines()
    assert lines[0].startswith("gpucloud: the database does not answer: connection")
    assert lines[-1] == (
        "gpucloud: start PostgreSQL (`make run` does) or correct DATABASE_URL."
    )
    assert "Traceback" not in result.stderr


def test_database_password_is_not_shown() -> None:
    assert "secret" not in manage("migrate").stderr


COOKIES = """
from django.test import Client
answer = Client().get("/admin/login/", secure=True, headers={"host": "localhost"})
print(answer["Strict-Transport-Security"])
print(answer.cookies["__Host-csrftoken"].OutputString())
print(Client().get("/admin/", headers={"host": "localhost"})["Location"])
from django.conf import settings as s
print(s.SESSION_COOKIE_NAME, s.SESSION_COOKIE_SECURE, s.SESSION_COOKIE_HTTPONLY,
    s.SESSION_COOKIE_SAMESITE, s.SESSION_COOKIE_DOMAIN, s.SESSION_COOKIE_PATH, s.DEBUG)
"""


def test_cookies_and_transport_of_production() -> None:
    result = manage("shell", "-v", "0", "-c", COOKIES, GPUCLOUD_HTTPS="true")

    hsts, cookie, redirect, session = result.stdout.strip().splitlines()
    assert hsts == "max-age=31536000; includeSubDomains; preload"
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert redirect.startswith("https://")
    assert session == "__Host-sessionid True True Lax None / False"


def test_lab_accounts_are_refused_in_production() -> None:
    result = manage("bootstrap_lab")

    assert result.returncode == 1
    assert "Refused: this is for labs" in result.stderr
